"""Learning by reward: rollouts, their rewards, and what improves a policy over codes or tokens with them."""
