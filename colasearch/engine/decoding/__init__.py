"""Rows: texts that are decoded together, and when each of them ends."""
