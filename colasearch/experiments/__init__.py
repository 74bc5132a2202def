"""Experiments: ordered stages, each a ``colasearch`` command, run to the end and reported.

``recipes`` say which stages with which numbers, ``running`` does and resumes them, ``reports`` reads what came out;
``countdown_run.py`` and ``iterate_run.py`` put the three together. All lie below the command line: a stage's command is
started as a program.
"""
