"""Learning from preferences: pairs of texts of which one was preferred, and a reward model made of them."""
