"""How one problem is searched: its settings, and what follows from them for its tree and its vote."""

from __future__ import annotations

from dataclasses import dataclass, replace

from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.problem import Problem
from colasearch.searchers import BestOfN, Majority, make
from colasearch.searchers.options import DescentOptions
from colasearch.searchers.registry import Algorithm
from colasearch.tasks import is_checkable


@dataclass(frozen=True, slots=True)
class Plan:
    """How one problem is searched. Problems whose plans share a world may be searched in one batch.

    Attributes:
        settings: As given.
        algorithm: The searcher.
        once: The same for problems whose answers a verifier checks: what was rejected is not gone to again.
        used: Which of the world's values the algorithm looks at: ``nodes``, those of the ``ends`` of paths, ``none``.
        rule: Of the vote; see ``engine.texts.vote``.
        selects: Whether the algorithm chooses a text by itself.
    """

    settings: SearchSettings
    algorithm: Algorithm
    once: Algorithm
    used: str
    rule: str
    selects: bool

    @classmethod
    def of(cls, settings: SearchSettings) -> Plan:
        """The plan of checked settings.

        Raises:
            InputError: A setting is out of range; or there is no such searcher, or option of it.
        """
        settings.check()
        algorithm = once = make(settings.searcher, settings.options)
        if isinstance(algorithm, DescentOptions) and "revisit" not in settings.options:
            once = replace(algorithm, revisit=False)
        used = getattr(algorithm, "values_used", "nodes")
        rule = "equal" if used == "none" else "weighted"
        selects = bool(getattr(algorithm, "selects", False))
        if selects or (isinstance(algorithm, BestOfN) and not isinstance(algorithm, Majority)):
            rule = "best"
        return cls(settings, algorithm, once, used, rule, selects)

    @property
    def world(self) -> WorldConfig:
        """Settings of the world, without what the algorithm does not look at.

        That is not paid for: no rollouts for leaves, no references for votes.
        """
        world = self.settings.world
        return replace(
            world,
            rollouts=world.rollouts and self.used == "nodes",
            values=() if self.used == "none" else world.values,
            references=0 if self.used == "none" else world.references,
        )

    @property
    def by_outcome(self) -> bool:
        """Whether the texts of a result are those that the algorithm counts, rather than all that were finished."""
        return self.used != "nodes"

    def algorithm_for(self, problem: Problem) -> Algorithm:
        """The algorithm, as it treats the problem's kind."""
        return self.once if is_checkable(problem.task) else self.algorithm

    def shares_world_with(self, other: Plan) -> bool:
        """Whether problems of both plans can be in one batch: all but the longest text is the same for the world."""
        ours = replace(self.world, max_tokens=0), self.settings.actions
        return ours == (replace(other.world, max_tokens=0), other.settings.actions)
