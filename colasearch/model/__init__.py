"""The latent-action language model: a frozen base, an inverse dynamics model, a codebook, a merge head, a policy."""
