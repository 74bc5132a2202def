"""Tree search over a language model's latent actions.

The public names are imported on first use, so that ``import colasearch`` and ``colasearch --help`` stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colasearch.cli.python import bench as bench
    from colasearch.cli.python import train as train
    from colasearch.engine.settings import WorldConfig as WorldConfig
    from colasearch.model.latent_lm import LatentLM as LatentLM
    from colasearch.problem import Candidate as Candidate
    from colasearch.problem import LabelledProblem as LabelledProblem
    from colasearch.problem import Problem as Problem
    from colasearch.problem import SolveResult as SolveResult
    from colasearch.problem import StopReason as StopReason
    from colasearch.solving import load as load
    from colasearch.solving import search as search
    from colasearch.solving import solve as solve
    from colasearch.solving import solve_all as solve_all

__version__ = "0.1.0"

# No submodule has one of these names: importing it would put the module where the function or class was.
_HOMES = {
    "Candidate": "colasearch.problem",
    "LabelledProblem": "colasearch.problem",
    "LatentLM": "colasearch.model.latent_lm",
    "Problem": "colasearch.problem",
    "SolveResult": "colasearch.problem",
    "StopReason": "colasearch.problem",
    "WorldConfig": "colasearch.engine.settings",
    "bench": "colasearch.cli.python",
    "load": "colasearch.solving",
    "search": "colasearch.solving",
    "solve": "colasearch.solving",
    "solve_all": "colasearch.solving",
    "train": "colasearch.cli.python",
}
__all__ = [
    "Candidate",
    "LabelledProblem",
    "LatentLM",
    "Problem",
    "SolveResult",
    "StopReason",
    "WorldConfig",
    "__version__",
    "bench",
    "load",
    "search",
    "solve",
    "solve_all",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'colasearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, those not imported yet included."""
    return sorted({*globals(), *__all__})
