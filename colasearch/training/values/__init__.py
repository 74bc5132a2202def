"""Value and Q heads, from search or from logged rollouts."""
