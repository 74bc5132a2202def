"""How latent actions come about from text (stages 1 and 2), and held-out measures of them."""
