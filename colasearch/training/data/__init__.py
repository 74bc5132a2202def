"""What is learned from: texts as tokens, the base's hidden states of them, problems with answers."""
