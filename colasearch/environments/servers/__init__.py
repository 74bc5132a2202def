"""Environments in processes of their own, for those that may hang, die, or leave programs behind.

``child.py`` is the process, ``server.py`` holds one, ``pool.py`` starts, lends, checks and replaces several, and
``served.py`` is an environment whose server may be lost at any time: that costs one replay.
"""
