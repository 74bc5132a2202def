"""Finished texts: where they end, what is wrong with them, and how they are voted on."""
