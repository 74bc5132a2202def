"""Tree search over a language model's latent actions.

The public names are imported on first use, so that ``import colasearch`` and ``colasearch --help`` stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colasearch.model.latent_lm import LatentLM as LatentLM
    from colasearch.problem import LabelledProblem as LabelledProblem
    from colasearch.problem import Problem as Problem
    from colasearch.problem import SolveResult as SolveResult
    from colasearch.problem import StopReason as StopReason
    from colasearch.solve import solve as solve

__version__ = "0.1.0"

_HOMES = {
    "LabelledProblem": "colasearch.problem",
    "LatentLM": "colasearch.model.latent_lm",
    "Problem": "colasearch.problem",
    "SolveResult": "colasearch.problem",
    "StopReason": "colasearch.problem",
    "solve": "colasearch.solve",
}
__all__ = ["LabelledProblem", "LatentLM", "Problem", "SolveResult", "StopReason", "__version__", "solve"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'colasearch' has no attribute {name!r}")
