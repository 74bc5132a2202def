"""What the ``colasearch train`` commands share: options, loading, the progress bar, the end of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from colasearch.storage.traces import Trace

Decorator = Callable[[Any], Any]
PathType = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


def together(*decorators: Decorator) -> Decorator:
    """Several decorators as one; their options show in this order."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


base_options = together(
    click.option("--device", default="auto", show_default=True),
    click.option("--dtype", default="auto", show_default=True, help="Element type of the base's weights."),
    click.option("--threads", type=COUNT, default=None, help="CPU threads (default: torch's own choice)."),
)


states_option = click.option(
    "--hidden",
    "keep",
    type=click.Choice(["auto", "cache", "fresh"]),
    default="auto",
    show_default=True,
    help="Hidden states of the base: kept on disk, or computed for each batch; auto looks at the free disk.",
)


def data_options(*, required: bool = True) -> Decorator:
    """Options of a run over texts."""
    return together(
        click.option(
            "--data",
            multiple=True,
            required=required,
            type=PathType,
            help="jsonl or parquet: problem, solution; or text. hf:OWNER/NAME:SPLIT streams.",
        ),
        click.option("--max-tokens", type=COUNT, default=512, show_default=True, help="Cut longer texts off here."),
        click.option(
            "--most-tokens",
            type=COUNT,
            default=None,
            help="Use about so many tokens of the texts, chosen by their hash; of a store its first texts.",
        ),
        click.option("--end-id", type=int, default=None, help="Token that ends a text [default: the base's own]."),
        click.option(
            "--heldout",
            type=click.FloatRange(0, 1),
            default=0.03,
            show_default=True,
            help="Share of texts never trained on.",
        ),
        base_options,
    )


def loop_options(*, lr: float, warmup_steps: int = 50, save_every: int = 100, evaluate_every: int = 500) -> Decorator:
    """Options of every run, with the defaults of this one."""
    return together(
        click.option("--output", required=True, type=PathType, help="Run folder to create."),
        click.option("--resume", is_flag=True, help="Go on with the run in --output."),
        click.option("--lr", default=lr, show_default=True, help="Learning rate after warm-up; a cosine to a tenth."),
        click.option("--warmup-steps", default=warmup_steps, show_default=True),
        click.option(
            "--save-every", type=COUNT, default=save_every, show_default=True, help="Steps between checkpoints."
        ),
        click.option(
            "--evaluate-every",
            type=COUNT,
            default=evaluate_every,
            show_default=True,
            help="Steps between held-out measures.",
        ),
        click.option("--seed", default=0, show_default=True),
        click.option("--tensorboard", is_flag=True, help="Also write the metrics for TensorBoard."),
    )


mixture_option = click.option(
    "--mixture-positions",
    type=click.IntRange(min=0),
    default=256,
    show_default=True,
    help="Held-out states for mixture_kl; each costs as many output-head passes as there are codes. 0: none.",
)


def batch_options(*, epochs: int = 2, batch_tokens: int = 8192, micro_tokens: int = 4096) -> Decorator:
    """Options of a run over texts."""
    return together(
        click.option("--epochs", type=COUNT, default=epochs, show_default=True),
        click.option(
            "--batch-tokens", type=COUNT, default=batch_tokens, show_default=True, help="Padded tokens in one update."
        ),
        click.option(
            "--micro-tokens",
            type=COUNT,
            default=micro_tokens,
            show_default=True,
            help="Padded tokens in one pass (memory).",
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Where:
    """What ``base_options`` gives: where the base runs."""

    device: str
    dtype: str
    threads: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """What ``data_options`` gives beside where the base runs: the text."""

    data: tuple[Path, ...]
    max_tokens: int
    most_tokens: int | None
    end_id: int | None
    heldout: float

    def describe(self) -> dict[str, Any]:
        """The part that a run's results depend on."""
        return {
            "data": [p.name for p in self.data],
            "max_tokens": self.max_tokens,
            "end_id": self.end_id,
            "heldout": self.heldout,
            **({} if self.most_tokens is None else {"most_tokens": self.most_tokens}),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What ``loop_options`` gives."""

    output: Path
    resume: bool
    lr: float
    warmup_steps: int
    save_every: int
    evaluate_every: int
    seed: int
    tensorboard: bool

    def loop(self, **changes: Any) -> Any:
        """The loop's hyper-parameters."""
        from colasearch.training.loop import LoopConfig

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

    def start(self, kind: str, lm: Any, config: dict[str, Any], loop: Any, ranks: Any = None) -> Any:
        """Open the run folder; ``ranks``: the processes that train together, None where a kind knows only one."""
        from colasearch.training.loop import manifest

        base = dataclasses.asdict(lm.base.identity)
        return self.open(manifest(kind, config, loop, base=base), ranks)

    def open(self, manifest: dict[str, Any], ranks: Any = None) -> Any:
        """Open the run folder, which stays locked until the command has ended: its model is saved after training."""
        from colasearch.training.loop import TrainRun

        if ranks is not None and not ranks.first:
            ranks.wait()  # until the first has made or checked the folder
            return TrainRun(self.output, manifest, self.resume, follow=True)
        run = TrainRun(self.output, manifest, self.resume, self.tensorboard)
        click.get_current_context().call_on_close(run.close)
        if ranks is not None:
            ranks.wait()
        return run


@dataclasses.dataclass(frozen=True, slots=True)
class Batches:
    """What ``batch_options`` gives."""

    epochs: int
    batch_tokens: int
    micro_tokens: int


def take(kind: type[Any], options: dict[str, Any]) -> Any:
    """Make a ``kind`` of its fields in ``options``, taking them out."""
    return kind(**{field.name: options.pop(field.name) for field in dataclasses.fields(kind)})


class Bar:
    """A rich progress bar on stderr, or a line now and then where stderr is no terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.title, self.task, self.last = title, self.bar.add_task(title, total=None, note=""), 0.0
        self.begun: tuple[float, int] | None = None

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` is done."""
        import time

        self.bar.update(self.task, completed=done, total=total, note=note)
        now = time.monotonic()
        if self.begun is None:
            self.begun = (now, done)  # a run that goes on has done some before
        if not self.console.is_terminal and (now - self.last > 30 or done == total):
            click.echo(f"{self.title}: {done}/{total} {self._left(now, done, total)}{note}", err=True)
            self.last = now

    def _left(self, now: float, done: int, total: int) -> str:
        assert self.begun is not None
        since, first = self.begun
        if not first < done < total:
            return ""
        return f"(about {(now - since) / (done - first) * (total - done):,.0f} s left) "

    def step(self, done: int, total: int, metrics: dict[str, float]) -> None:
        """Show a training step with its metrics."""
        self.update(done, total, " ".join(f"{key} {value:.3g}" for key, value in metrics.items()))


def corpus_of(model: Any, source: Source) -> Any:
    """The texts, tokenised as the model wants them."""
    from colasearch.training.data import first_texts, load_corpus

    end_id = model.base.end_id if source.end_id is None else source.end_id
    corpus = load_corpus(source.data, model.base.tokenizer, end_id, source.max_tokens)
    return corpus if source.most_tokens is None else first_texts(corpus, source.most_tokens)


def split(corpus: Any, heldout: float, *, measured: bool = True) -> tuple[list[int], list[int]]:
    """Indices of the texts to train on and of those held out; at least one of each.

    None is held out only where that is asked for (``heldout`` 0) and need not be ``measured``.
    """
    from colasearch.training.data import split_heldout

    train, held = split_heldout(corpus, heldout)
    if not train or (not held and (measured or heldout)):
        raise click.UsageError(
            f"{len(corpus.documents)} texts leave {len(train)} to train on and {len(held)} held out; "
            "both need at least one: give more text or another --heldout"
        )
    click.echo(f"{len(train)} texts to train on, {len(held)} held out, {corpus.tokens} tokens that count", err=True)
    return train, held


def states_of(model: Any, corpus: Any, keep: str = "cache", ranks: Any = None) -> Any:
    """Hidden states of the corpus.

    Args:
        model: Whose base computes them.
        corpus: The texts.
        keep: ``cache``: computed once and kept on disk; ``fresh``: computed for each batch; ``auto``: kept where they
            take at most half of the free disk and one process trains.
        ranks: The processes that train together: the first fills the cache.
    """
    from colasearch.training.hidden_cache import FreshStates, fits_on_disk, hidden_states

    alone = ranks is None or ranks.count == 1
    if keep == "fresh" or (keep == "auto" and not (alone and fits_on_disk(model.base, corpus))):
        return FreshStates(corpus.documents, model.base)
    if not alone and not ranks.first:
        ranks.wait()
    with Bar("hidden states") as bar:
        states = hidden_states(model.base, corpus, bar.update)
    if not alone and ranks.first:
        ranks.wait()
    return states


def refuse_ranks() -> None:
    """Say so where a launcher has started several processes of a command that trains in one.

    Raises:
        UsageError: It has.
    """
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but only `train actions` and `train policy --data` train in "
            "several processes; start this command without a launcher"
        )


def frozen_codes(lm: Any, where: Where, corpus: Any) -> Any:
    """The IDM's codes of every text where the base was fine-tuned after it: it reads the base as it was; else None."""
    tuned = lm.require_latents().config.tuned
    if tuned is None or tuned.codes_after:
        return None
    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import LatentLM
    from colasearch.training.guidance import idm_codes

    modules = lm.require_latents()
    frozen = BaseModel.load(modules.config.base.name, where.device, where.dtype)
    return idm_codes(modules, states_of(LatentLM(lm.name, frozen, modules), corpus))


def load(model: str, where: Where, *, to_train: bool = True, parallel: bool = False) -> Any:
    """The model, with torch told how many threads to use; what trains, or is saved again, in float32.

    ``parallel``: the command can train in several processes; others refuse a launcher's.
    """
    import torch

    from colasearch.model.latent_lm import LatentLM
    from colasearch.training.ranks import Ranks

    if not parallel:
        refuse_ranks()
    if where.threads:
        torch.set_num_threads(where.threads)
    device = Ranks.current(where.device).device(where.device)
    return LatentLM.from_pretrained(
        model, device, where.dtype, lambda line: click.echo(line, err=True), whole_latents=to_train
    )


def finish(kind: str, lm: Any, how: Run, config: dict[str, Any], result: dict[str, float], **more: Any) -> None:
    """Save the trained model with its card beside the run, and print its held-out measures as one JSON object."""
    import json

    from colasearch.training.card import model_card

    modules = lm.require_latents()
    notes = {"config": {**config, "lr": how.lr, "seed": how.seed}, "heldout": result}
    modules.config = dataclasses.replace(modules.config, training={**modules.config.training, kind: notes})
    lm.save_pretrained(how.output / "model", model_card(modules.config))
    report = {"schema": 1, "kind": kind, "model": str(how.output / "model"), "heldout": result, **more}
    click.echo(json.dumps(report))


def train_on_text(
    kind: str,
    lm: Any,
    source: Source,
    where: Where,
    how: Run,
    batching: Batches,
    config: dict[str, Any],
    make_learner: Callable[[Any, Any, Any], Any],
    keep: str = "auto",
    mixture_positions: int = 256,
) -> None:
    """Run a stage on hidden states: the loop, the finished model, its held-out measures."""
    from colasearch.training.data import batches
    from colasearch.training.evaluate import evaluate
    from colasearch.training.loop import fit
    from colasearch.training.ranks import Ranks

    modules = lm.require_latents()
    loop = how.loop()
    config = {**source.describe(), "epochs": batching.epochs, "batch_tokens": batching.batch_tokens, **config}
    ranks = Ranks.current(where.device)
    corpus = corpus_of(lm, source)
    train, held = split(corpus, source.heldout)
    codes = frozen_codes(lm, where, corpus)
    states = states_of(lm, corpus, keep, ranks)
    run = how.start(kind, lm, config, loop, ranks)
    modules.to(states.device)
    learner = make_learner(states, codes, ranks)
    with Bar(kind) as bar:
        result = fit(
            run,
            modules,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(states.documents, train, batching.batch_tokens, how.seed, epoch),
            epochs=batching.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: evaluate(modules, lm.base, states, held, mixture_positions, given_codes=codes),
            progress=bar.step,
            no_decay=[modules.codebook.weight],
            after_step=getattr(learner, "after_step", None),
            ranks=ranks,
        )
    if ranks.first:
        finish(kind, lm, how, config, result)


def judge_of(paths: tuple[Path, ...]) -> Callable[[Trace, str], float]:
    """The true reward of an answer, from the gold answers of ``paths``."""
    from colasearch.errors import InputError
    from colasearch.training.problems import Reward, load_problems

    known: dict[str, tuple[Any, Any]] = {}

    def judge(trace: Trace, answer: str) -> float:
        if trace.task not in known:
            labelled = {one.problem.text: one for one in load_problems(paths, trace.task)}
            known[trace.task] = labelled, Reward(trace.task)
        labelled, reward = known[trace.task]
        if trace.text not in labelled:
            raise InputError(
                f"problem {trace.problem_id} ({trace.text[:60]!r}) of the traces is not in "
                f"{', '.join(map(str, paths))}; give the problems that were searched as --data"
            )
        return float(reward.of_answer(labelled[trace.text], answer))

    return judge
