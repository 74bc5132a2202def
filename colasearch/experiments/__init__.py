"""Experiments: recipes of ordered stages, each a ``colasearch`` command, run to the end and reported."""
