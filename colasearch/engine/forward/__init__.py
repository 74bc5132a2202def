"""The model, run: ``actor.py`` says what follows from tokens and chooses, ``inference.py`` makes the copy that runs.

Nothing here knows trees, problems, or the order of work; ``features.py`` is what is known of a text's next token.
"""
