"""What an experiment does: its numbers, and its stages made of them."""
