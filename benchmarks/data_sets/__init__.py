"""Sets of problems: a set is a file here with a ``BENCHMARK``, or a row of ``competitions.py``; ``names.py`` lists it.

``base.py`` says what a benchmark is, ``load.py`` and ``hub.py`` bring its rows in, ``registry.py`` finds it by name.
Nothing here knows models or how problems are searched.
"""
