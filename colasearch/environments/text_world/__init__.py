"""A small text world of our own, in plain Python: ``plan.py`` draws a house, ``state.py`` has what can be done in it.

``explorer.py`` solves it by what is seen alone, and ``house.py`` is the environment.
"""
