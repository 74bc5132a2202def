"""The model, run: what follows from tokens, and which token is next."""
