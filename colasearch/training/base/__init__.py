"""What trains the base itself: from scratch, under given codes, and which of its weights (all, some, low-rank)."""
