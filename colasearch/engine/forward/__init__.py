"""The model, run: ``actor.py`` says what follows from tokens and chooses, ``inference.py`` makes the copy that runs.

Nothing here knows trees, problems, or the order of work; ``features.py`` is what is known of a text's next token,
``looks.py`` and ``leaves.py`` how the host learns of it. For a GPU ``steps.py`` has a step without the host and
``fused.py`` layers in fewer kernels. ``capacity.py`` says how much at a time.
"""
