"""Training: data, the loop, and one file a method (docs/training.md lists them)."""
