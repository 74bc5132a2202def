"""What a worker can do: a recipe is sent to it, and makes the engine that works on the units there.

A recipe is small, frozen and picklable; the engine that it makes holds what is heavy. To let the pool do another kind
of work, add a recipe; nothing else here knows what the units are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings
    from colasearch.benchmarks.harness.drawing import Job
    from colasearch.engine.scheduler import Searched, Status
    from colasearch.engine.settings import SearchSettings
    from colasearch.model.latent_lm import LatentLM
    from colasearch.problem import Problem


class Engine(Protocol):
    """Works on units in slots."""

    def add(self, units: Sequence[tuple[int, Any]]) -> list[tuple[int, Any]]:
        """Take up units ``(number, item)``, no more than there are free slots; returns what is done at once."""

    def step(self) -> list[tuple[int, Any]]:
        """Work on all units for a moment; returns ``(number, value)`` of those that are done."""

    def progress(self) -> tuple[int, int]:
        """Simulations and tokens since the engine was made."""


class Recipe(Protocol):
    """How units are worked on.

    Attributes:
        whole_batches: The engine works through one batch at a time: slots are not refilled in between.
    """

    whole_batches: ClassVar[bool]

    def engine(self, model: Any, slots: int, beat: Callable[[], None]) -> Engine:
        """The engine; a ``ColasearchError`` here is the caller's to hear, and ends the work.

        A step that takes long calls ``beat`` now and then, or the worker is taken for one that hangs.
        """

    def suspicious(self, value: Any) -> bool:
        """Whether a value is what a broken engine would give (NaN)."""


@dataclass(frozen=True, slots=True)
class SearchRecipe:
    """Tree search; items are problems, values ``Searched``."""

    settings: SearchSettings
    whole_batches: ClassVar[bool] = False

    def engine(self, model: LatentLM, slots: int, beat: Callable[[], None]) -> Engine:
        """A scheduler with ``slots`` slots."""
        return SearchEngine(model, self.settings, slots)

    def suspicious(self, value: Searched) -> bool:
        """The search ended because of NaN."""
        return value.result is not None and value.result.stop == "nan"


class SearchEngine:
    """A lock-step scheduler that is fed from outside."""

    def __init__(self, lm: LatentLM, settings: SearchSettings, slots: int) -> None:
        from colasearch.engine.scheduler import Scheduler

        self.status: Status | None = None
        self.finished_sims = 0
        self.scheduler = Scheduler(lm, settings, slots, self._keep)
        # By identity: two units may have problems with one id, or one problem even.
        self.numbers: dict[int, list[int]] = {}

    def _keep(self, status: Status) -> None:
        self.status = status

    def add(self, units: Sequence[tuple[int, Problem]]) -> list[tuple[int, Searched]]:
        """Begin problems; returns those that cannot be searched."""
        from colasearch.tasks import adopt

        adopt(problem.task for _, problem in units)
        for number, problem in units:
            self.numbers.setdefault(id(problem), []).append(number)
        return self._numbered(list(self.scheduler.add([problem for _, problem in units])))

    def step(self) -> list[tuple[int, Searched]]:
        """One batch of the model, and what it finished."""
        return self._numbered(list(self.scheduler.step()))

    def _numbered(self, done: list[Searched]) -> list[tuple[int, Searched]]:
        numbered = []
        for one in done:
            self.finished_sims += 0 if one.result is None else one.result.sims
            waiting = self.numbers[id(one.problem)]
            numbered.append((waiting.pop(0), one))
            if not waiting:
                del self.numbers[id(one.problem)]
        return numbered

    def progress(self) -> tuple[int, int]:
        """Of problems that are done and of those in slots."""
        now = (self.status.sims, self.status.generated_tokens) if self.status else (0, 0)
        return self.finished_sims + now[0], now[1]


@dataclass(frozen=True, slots=True)
class SampleRecipe:
    """Independent texts, from which ``arms`` choose; items are ``Job``, values ``{arm: ArmResult}``."""

    arms: tuple[str, ...]
    settings: ArmSettings
    whole_batches: ClassVar[bool] = True

    def engine(self, model: LatentLM, slots: int, beat: Callable[[], None]) -> Engine:
        """An engine that draws a batch's texts in one step."""
        if self.settings.actions == "latent":
            model.require_latents()
        return SampleEngine(model, self, beat)

    def suspicious(self, value: dict[str, ArmResult]) -> bool:
        """A text ended because of NaN."""
        return any(result.stop == "nan" for result in value.values())


class SampleEngine:
    """Draws the texts of a whole batch."""

    def __init__(self, lm: LatentLM, recipe: SampleRecipe, beat: Callable[[], None]) -> None:
        self.lm, self.recipe, self.beat = lm, recipe, beat
        self.units: list[tuple[int, Job]] = []
        self.tokens = 0

    def add(self, units: Sequence[tuple[int, Job]]) -> list[tuple[int, dict[str, ArmResult]]]:
        """Put jobs into the next batch."""
        from colasearch.tasks import adopt

        adopt(job.problem.task for _, job in units)
        self.units += units
        return []

    def step(self) -> list[tuple[int, dict[str, ArmResult]]]:
        """Draw and choose for all of them."""
        from colasearch.benchmarks.harness.drawing import sample

        units, self.units = self.units, []
        jobs = [job for _, job in units]
        results = sample(self.lm, jobs, self.recipe.arms, self.recipe.settings, on_tokens=lambda tokens: self.beat())
        self.tokens += sum(max(one.generated_tokens for one in by_arm.values()) for by_arm in results)
        return [(number, result) for (number, _), result in zip(units, results, strict=True)]

    def progress(self) -> tuple[int, int]:
        """Tokens of the batches that are done; arms share their texts."""
        return 0, self.tokens
