"""What becomes of a model once it is trained: its card, and its export into a folder that ships."""
