"""What ``colasearch train`` commands are told, in the parts that they share: frozen, as in ``colasearch.cli.settings``.

A command's own settings stand beside it and take these parts as bases, so that flags and Python make the same object,
with the flag's names and defaults (a test compares).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import click

from colasearch.cli.train.environments import described, environment_of, roller_of, starts_of

if TYPE_CHECKING:
    from colasearch.training.base.tuning import Tuning


OF_ENVIRONMENTS = ("max_steps", "servers", "server_timeout")


@dataclass(frozen=True, kw_only=True)
class Where:
    """What ``base_options`` gives: where the base runs."""

    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Source(Where):
    """What ``data_options`` gives: the text, and where the base runs."""

    data: tuple[Path, ...]
    max_tokens: int = 512
    most_tokens: int | None = None
    end_id: int | None = None
    heldout: float = 0.03

    def describe(self) -> dict[str, Any]:
        """The part that a run's results depend on."""
        return {
            "data": [p.name for p in self.data],
            "max_tokens": self.max_tokens,
            "end_id": self.end_id,
            "heldout": self.heldout,
            **({} if self.most_tokens is None else {"most_tokens": self.most_tokens}),
        }


@dataclass(frozen=True, kw_only=True)
class Run:
    """What ``loop_options`` gives."""

    output: Path
    resume: bool = False
    lr: float = 1e-3
    warmup_steps: int = 50
    save_every: int = 100
    evaluate_every: int = 500
    seed: int = 0
    tensorboard: bool = False
    log: tuple[str, ...] = ()

    def loop(self, **changes: Any) -> Any:
        """The loop's hyper-parameters."""
        from colasearch.training.running.loop import LoopConfig

        given = {
            "lr": self.lr,
            "final_lr": self.lr / 10,
            "warmup_steps": self.warmup_steps,
            "save_every": self.save_every,
            "evaluate_every": self.evaluate_every,
            "seed": self.seed,
            **changes,
        }
        return LoopConfig(**given)

    @property
    def boards(self) -> tuple[str, ...]:
        """Boards that show the metrics beside ``metrics.jsonl``."""
        asked = ("tensorboard",) * self.tensorboard + self.log
        return tuple(dict.fromkeys(name for name in asked if name != "jsonl"))

    def start(self, kind: str, lm: Any, config: dict[str, Any], loop: Any, ranks: Any = None) -> Any:
        """Open the run folder; ``ranks``: the processes that train together, None where a kind knows only one."""
        from colasearch.training.running.loop import manifest

        base = dataclasses.asdict(lm.base.identity)
        return self.open(manifest(kind, config, loop, base=base), ranks)

    def open(self, manifest: dict[str, Any], ranks: Any = None) -> Any:
        """Open the run folder, which stays locked until the command has ended: its model is saved after training."""
        from colasearch.training.running.loop import TrainRun

        if ranks is not None and not ranks.first:
            ranks.wait()  # until the first has made or checked the folder
            return TrainRun(self.output, manifest, self.resume, follow=True)
        run = TrainRun(self.output, manifest, self.resume, self.boards)
        click.get_current_context().call_on_close(run.close)
        if ranks is not None:
            ranks.wait()
        return run


@dataclass(frozen=True, kw_only=True)
class TextRun(Source, Run):
    """A run over texts: ``data_options``, ``loop_options`` and ``batch_options``."""

    epochs: int = 2
    batch_tokens: int = 8192
    micro_tokens: int = 4096


@dataclass(frozen=True, kw_only=True)
class StageSettings(TextRun):
    """A stage on hidden states of texts; ``keep`` is ``--hidden``."""

    model: str
    keep: Literal["auto", "cache", "fresh"] = "auto"
    mixture_positions: int = 256


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What ``tuning_options`` gives: what of the base trains."""

    tune: Literal["lora", "layers", "full"] = "lora"
    layers: tuple[int, ...] = ()
    rank: int = 16

    def tuning(self, rank: int | None = None) -> Tuning:
        """The same as the tuner wants it; ``rank`` in place of the one given."""
        from colasearch.training.base.tuning import Tuning

        rank = rank or self.rank
        return Tuning(self.tune, self.layers, rank, 2.0 * rank)


@dataclass(frozen=True, kw_only=True)
class Problems(Where):
    """What ``problem_options`` gives, and where the base runs; ``data`` may name an environment in place of files."""

    data: tuple[Path, ...]
    task: str | None = None
    heldout: float = 0.1
    max_new_tokens: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    format_weight: float = 0.0
    rows: int = 64
    reward: tuple[str, ...] = ()
    prompt: str | None = None
    columns: Mapping[str, str] | None = None
    max_steps: int | None = None
    servers: int = 1
    server_timeout: float = 60.0

    @property
    def environment(self) -> str | None:
        """The environment that takes the place of problems, if one does."""
        return environment_of(self)

    def with_task(self) -> Self:
        """With the whole reference of the problems' task: a part of what a run's results depend on."""
        from colasearch.rows import read_rows
        from colasearch.tasks import settled, task_of

        if self.environment is not None:
            return self
        task = self.task or task_of([row for path in self.data for row in read_rows(path, self.columns)])
        return dataclasses.replace(self, task=settled(task, prompt=self.prompt, columns=self.columns))

    def with_limit(self, lm: Any) -> Self:
        """With the limit of ``lm`` on a rollout's length, where the user gave none."""
        from colasearch.agents.layout import ACTION_TOKENS
        from colasearch.defaults import text_limit

        if self.environment is not None:
            return dataclasses.replace(self, max_new_tokens=self.max_new_tokens or ACTION_TOKENS)
        assert self.task is not None
        return dataclasses.replace(self, max_new_tokens=self.max_new_tokens or text_limit(lm.base, [self.task]))

    def problems(self) -> tuple[Any, list[int], list[int]]:
        """The problems, and the indices of those to train on and of those held out."""
        from colasearch.training.data.problems import load_problems, split_problems

        if self.environment is not None:
            return starts_of(self, self.environment)
        problems = load_problems(self.data, self.task, gold=not self.reward)
        train, held = split_problems(problems, self.heldout)
        if not train:
            raise click.UsageError(
                f"{len(problems)} problems leave none to train on at --heldout {self.heldout}; give more"
            )
        click.echo(f"{len(train)} problems to train on, {len(held)} held out", err=True)
        return problems, train, held

    def roller(self, lm: Any, problems: Any, seed: int, **changes: Any) -> Any:
        """What rolls them out."""
        from colasearch.tasks import get_task
        from colasearch.training.data.problems import Reward
        from colasearch.training.reinforcement.rewards import SpecReward
        from colasearch.training.reinforcement.rollout import Roller, RolloutConfig

        if self.environment is not None:
            return roller_of(self, lm, problems, seed, **changes)
        task = problems[0].problem.task
        assert self.max_new_tokens is not None
        config = RolloutConfig(
            max_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            rows=self.rows,
            seed=seed,
            **changes,
        )
        form = get_task(task).form
        reward = SpecReward(self.reward, self.format_weight, form) if self.reward else Reward(task, self.format_weight)
        return Roller(lm, problems, reward, config, form=Reward(task, 1.0))

    def describe(self) -> dict[str, Any]:
        """The part that a run's results depend on."""
        from colasearch.rewards import hashes_of
        from colasearch.tasks import hashes_of as task_hashes

        if self.environment is not None:
            return described(self, self.environment)
        assert self.task is not None
        # The settled task names the prompt and the columns.
        left_out = {*(field.name for field in dataclasses.fields(Where)), "prompt", "columns", *OF_ENVIRONMENTS}
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(Problems) if f.name not in left_out}
        told = {**given, "data": [p.name for p in self.data], "rewards": hashes_of(self.reward)}
        if files := task_hashes([self.task]):
            told["tasks"] = files
        # Runs from before there was a choice have no such keys.
        return {key: value for key, value in told.items() if self.reward or key not in ("reward", "rewards")}
