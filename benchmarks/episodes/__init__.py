"""Benchmarks on environments: which arms play, in what order, what is recorded of each episode, and what it comes to.

``arms.py`` plays, ``runner.py`` does what is not done yet, ``records.py`` and ``traces.py`` write it down,
``summary.py`` adds it up.
"""
