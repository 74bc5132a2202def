"""Training: text and hidden states, the latent actions (stage 1), the policy (stage 2)."""
