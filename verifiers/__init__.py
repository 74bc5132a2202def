"""Verifiers: they score answers. See ``colasearch.verifiers.base`` for the interface.

Importing this package is cheap: sympy and math-verify are loaded in worker processes only.
"""

from colasearch.verifiers.base import CheckableVerifier, GoldVerifier, Verdict
from colasearch.verifiers.canonical import canonical_key, group_answers
from colasearch.verifiers.equations import false_equation, in_result, infeasible_result, settled
from colasearch.verifiers.extract import extract_answer
from colasearch.verifiers.quantities import unused_numbers
from colasearch.verifiers.registry import checkable_verifier, get_verifier, gold_verifier, is_checkable

__all__ = [
    "CheckableVerifier",
    "GoldVerifier",
    "Verdict",
    "canonical_key",
    "checkable_verifier",
    "extract_answer",
    "false_equation",
    "get_verifier",
    "gold_verifier",
    "group_answers",
    "in_result",
    "infeasible_result",
    "is_checkable",
    "settled",
    "unused_numbers",
]
