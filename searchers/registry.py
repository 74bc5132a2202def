"""Names of all algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Protocol

from colasearch.errors import InputError
from colasearch.searchers.abmcts import AbMcts
from colasearch.searchers.beam import Beam, DiverseBeam, Dvts
from colasearch.searchers.cola_mended import ColaMended
from colasearch.searchers.cola_reference import ColaReference
from colasearch.searchers.gumbel import Gumbel
from colasearch.searchers.outcome import Choice
from colasearch.searchers.puct import Puct
from colasearch.searchers.rebase import Rebase
from colasearch.searchers.sampling import BestOfN, Greedy, Majority, WeightedVote
from colasearch.searchers.search import Search
from colasearch.searchers.uct import Uct
from colasearch.searchers.widening import Widening


class Algorithm(Protocol):
    """A search algorithm: its options, and how to run them in a :class:`Search`."""

    def start(self, search: Search) -> None:
        """Give ``search`` its strategy."""

    def conclude(self, search: Search) -> Choice:
        """Root choice of the search as it stands."""


ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    kind.name: kind
    for kind in (
        Gumbel,
        Puct,
        Uct,
        Widening,
        Beam,
        DiverseBeam,
        Dvts,
        Rebase,
        BestOfN,
        Majority,
        WeightedVote,
        Greedy,
        AbMcts,
        ColaReference,
        ColaMended,
    )
}
"""Every algorithm by the name that ``run`` and ``--searcher`` take; ``-`` and ``_`` mean the same."""


def spelled(name: str) -> str:
    """A name as the registry spells it; what it does not know comes back as it is."""
    plain = name.replace("-", "_").lower()
    return plain if plain in ALGORITHMS else name


def make(algorithm: str | Algorithm, options: Mapping[str, Any]) -> Algorithm:
    """The algorithm object for a name and options; an object passes through.

    Raises:
        InputError: Unknown name or option, or options given beside an object.
    """
    if not isinstance(algorithm, str):
        if options:
            raise InputError(f"options {sorted(options)} were given beside an algorithm object; set them on the object")
        return algorithm
    name = algorithm.replace("_", "-").lower()
    table = {key.replace("_", "-"): kind for key, kind in ALGORITHMS.items()}
    if name not in table:
        raise InputError(f"unknown algorithm {algorithm!r}; pass one of {', '.join(sorted(ALGORITHMS))}")
    kind = table[name]
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(options) - known)
    if unknown:
        raise InputError(f"{algorithm} has no option {unknown[0]!r}; its options are {', '.join(sorted(known))}")
    return kind(**options)
