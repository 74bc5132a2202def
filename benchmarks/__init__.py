"""Benchmarks, in three rooms: ``data_sets`` (what is asked), ``harness`` (how it is run and scored), ``measurements``.

``names.py`` has what the command line lists without importing anything.
"""
