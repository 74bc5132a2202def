"""What texts say: where they end (``ends.py``), what is wrong with them (``checks.py``), the vote (``vote.py``).

Nothing here knows trees or the model; a finished text is a ``finished.Finished``.
"""
