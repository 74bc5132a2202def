"""What texts say: where they end (``ends.py``), how they are chosen among (``choosing.py``), the vote (``vote.py``).

Nothing here knows trees or the model; a finished text is a ``finished.Finished``.
"""
