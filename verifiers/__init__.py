"""Verifiers: they score answers. See ``colasearch.verifiers.base`` for the interface."""
