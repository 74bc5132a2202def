"""Training: a room for each kind of method, and for what they share; in ``speed.py`` how fast this machine does it.

``generated`` makes problems, ``data`` reads what is learned from, ``running`` runs it, ``trained`` is what comes after;
``latent_actions``, ``base``, ``reinforcement``, ``from_search`` and ``values`` have a file a method (docs/training.md).
"""
