"""``colasearch train``: learn latent actions and a policy from text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PathType = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


@click.group(name="train")
def command() -> None:
    r"""Learn latent actions (stage 1) and a policy over them (stage 2) from text.

    \b
    colasearch train actions --data texts.jsonl --output runs/actions
    colasearch train policy --model runs/actions/model --data texts.jsonl --output runs/policy
    colasearch train evaluate --model runs/policy/model --data texts.jsonl
    """


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


data_options = _options(
    click.option("--data", multiple=True, required=True, type=PathType, help="jsonl: problem, solution; or text."),
    click.option("--max-tokens", type=COUNT, default=512, show_default=True, help="Cut longer texts off here."),
    click.option("--end-id", type=int, default=None, help="Token that ends a text [default: the base's own]."),
    click.option(
        "--heldout",
        type=click.FloatRange(0, 1),
        default=0.03,
        show_default=True,
        help="Share of texts never trained on.",
    ),
    click.option("--device", default="auto", show_default=True),
    click.option("--dtype", default="auto", show_default=True, help="Element type of the base's weights."),
    click.option("--threads", type=COUNT, default=None, help="CPU threads (default: torch's own choice)."),
)
run_options = _options(
    click.option("--output", required=True, type=PathType, help="Run folder to create."),
    click.option("--resume", is_flag=True, help="Go on with the run in --output."),
    click.option("--epochs", type=COUNT, default=2, show_default=True),
    click.option(
        "--batch-tokens",
        type=click.IntRange(min=1),
        default=8192,
        show_default=True,
        help="Padded tokens in one update.",
    ),
    click.option(
        "--micro-tokens",
        type=click.IntRange(min=1),
        default=4096,
        show_default=True,
        help="Padded tokens in one pass (memory).",
    ),
    click.option("--lr", default=1e-3, show_default=True),
    click.option("--warmup-steps", default=50, show_default=True),
    click.option("--save-every", type=COUNT, default=100, show_default=True, help="Steps between checkpoints."),
    click.option(
        "--evaluate-every",
        type=click.IntRange(min=1),
        default=500,
        show_default=True,
        help="Steps between held-out measures.",
    ),
    click.option("--seed", default=0, show_default=True),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """What ``data_options`` gives: the text, and where the base runs."""

    data: tuple[Path, ...]
    max_tokens: int
    end_id: int | None
    heldout: float
    device: str
    dtype: str
    threads: int | None

    def describe(self) -> dict[str, Any]:
        """The part that a run's results depend on."""
        return {
            "data": [p.name for p in self.data],
            "max_tokens": self.max_tokens,
            "end_id": self.end_id,
            "heldout": self.heldout,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What ``run_options`` gives."""

    output: Path
    resume: bool
    epochs: int
    batch_tokens: int
    micro_tokens: int
    lr: float
    warmup_steps: int
    save_every: int
    evaluate_every: int
    seed: int


def _take(kind: type[Any], options: dict[str, Any]) -> Any:
    """Make a ``kind`` of its fields in ``options``, taking them out."""
    return kind(**{field.name: options.pop(field.name) for field in dataclasses.fields(kind)})


class _Bar:
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

    def __enter__(self) -> _Bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` is done."""
        import time

        self.bar.update(self.task, completed=done, total=total, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.last > 30 or done == total):
            click.echo(f"{self.title}: {done}/{total} {note}", err=True)
            self.last = now


def _note(metrics: dict[str, float]) -> str:
    return " ".join(f"{key} {value:.3g}" for key, value in metrics.items())


def _corpus(model: Any, source: Source) -> Any:
    from colasearch.training.data import load_corpus

    end_id = model.base.end_id if source.end_id is None else source.end_id
    return load_corpus(source.data, model.base.tokenizer, end_id, source.max_tokens)


def _prepare(model: Any, corpus: Any, heldout: float) -> tuple[Any, list[int], list[int]]:
    """Hidden states of the corpus, and the indices of its training and held-out documents."""
    from colasearch.training.data import split_heldout
    from colasearch.training.hidden_cache import hidden_states

    train, held = split_heldout(corpus, heldout)
    if not train or not held:
        raise click.UsageError(
            f"{len(corpus.documents)} texts leave {len(train)} to train on and {len(held)} held out; "
            "both need at least one: give more text or another --heldout"
        )
    click.echo(f"{len(train)} texts to train on, {len(held)} held out, {corpus.tokens} tokens that count", err=True)
    with _Bar("hidden states") as bar:
        states = hidden_states(model.base, corpus, bar.update)
    return states, train, held


def _load(model: str, source: Source) -> Any:
    import torch

    from colasearch.model.latent_lm import LatentLM

    if source.threads:
        torch.set_num_threads(source.threads)
    return LatentLM.from_pretrained(model, source.device, source.dtype, lambda line: click.echo(line, err=True))


def _train(
    kind: str,
    loaded: Any,
    modules: Any,
    source: Source,
    how: Run,
    config: dict[str, Any],
    make_learner: Callable[[Any], Any],
) -> None:
    """Run a stage: hidden states, the loop, the finished model with its card; print the held-out measures as JSON."""
    import json

    from colasearch.model.latent_lm import save_latents
    from colasearch.training.card import model_card
    from colasearch.training.data import batches
    from colasearch.training.evaluate import evaluate
    from colasearch.training.loop import LoopConfig, TrainRun, fit, manifest

    loop = LoopConfig(
        lr=how.lr,
        final_lr=how.lr / 10,
        warmup_steps=how.warmup_steps,
        save_every=how.save_every,
        evaluate_every=how.evaluate_every,
        seed=how.seed,
    )
    config = {**source.describe(), "epochs": how.epochs, "batch_tokens": how.batch_tokens, **config}
    states, train, held = _prepare(loaded, _corpus(loaded, source), source.heldout)
    base = dataclasses.asdict(loaded.base.identity)
    run = TrainRun(how.output, manifest(kind, config, loop, base=base), how.resume)
    modules.to(states.device)
    learner = make_learner(states)
    with _Bar(kind) as bar:
        result = fit(
            run,
            modules,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(states.documents, train, how.batch_tokens, how.seed, epoch),
            epochs=how.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: evaluate(modules, loaded.base, states, held),
            progress=lambda done, total, metrics: bar.update(done, total, _note(metrics)),
            no_decay=[modules.codebook.weight],
            after_step=getattr(learner, "after_step", None),
        )
    notes = {"config": {**config, "lr": how.lr, "seed": how.seed}, "heldout": result}
    modules.config = dataclasses.replace(modules.config, training={**modules.config.training, kind: notes})
    save_latents(modules, how.output / "model", model_card(modules.config))
    click.echo(json.dumps({"schema": 1, "kind": kind, "model": str(how.output / "model"), "heldout": result}))


@command.command()
@click.option("--model", default="smollm2-135m", show_default=True, help="Base: known name, folder or hub name.")
@data_options
@run_options
@click.option("--codes", type=COUNT, default=64, show_default=True, help="Size of the codebook.")
@click.option("--output-form", type=click.Choice(["residual", "subtractive"]), default="residual", show_default=True)
@click.option("--idm-layers", type=COUNT, default=1, show_default=True)
@click.option("--policy-layers", type=COUNT, default=2, show_default=True)
@click.option("--temperature", default=2.0, show_default=True, help="Gumbel-softmax temperature at the start.")
@click.option("--final-temperature", default=1.0, show_default=True, help="... and at the end.")
@click.option("--entropy-weight", default=0.001, show_default=True, help="Published per-token entropy term.")
@click.option("--usage-weight", default=0.02, show_default=True, help="Entropy of the marginal use of codes.")
@click.option("--revive-every", default=50, show_default=True, help="Steps between revivals of dead codes; 0: never.")
def actions(
    model: str,
    codes: int,
    output_form: str,
    idm_layers: int,
    policy_layers: int,
    temperature: float,
    final_temperature: float,
    entropy_weight: float,
    usage_weight: float,
    revive_every: int,
    **common: Any,
) -> None:
    """Stage 1: inverse dynamics model, codebook and merge head, with the base frozen."""
    from colasearch.model.latent_lm import new_latents
    from colasearch.training.actions import ActionLearner, ActionsConfig

    source, how = _take(Source, common), _take(Run, common)
    settings = ActionsConfig(
        temperature, final_temperature, entropy_weight, usage_weight, revive_every, how.micro_tokens
    )
    loaded = _load(model, source)
    shape: dict[str, Any] = {
        "num_codes": codes,
        "output_form": output_form,
        "idm_layers": idm_layers,
        "policy_layers": policy_layers,
    }
    modules = new_latents(loaded.base, how.seed, **shape)
    config = {"model": model, **shape, **dataclasses.asdict(settings)}
    _train(
        "actions",
        loaded,
        modules,
        source,
        how,
        config,
        lambda states: ActionLearner(modules, loaded.base, states, settings, how.seed),
    )


@command.command()
@click.option("--model", required=True, help="Model folder that stage 1 wrote.")
@data_options
@run_options
def policy(model: str, **common: Any) -> None:
    """Stage 2: the policy clones the inverse dynamics model's codes."""
    from colasearch.training.cloning import PolicyCloner

    source, how = _take(Source, common), _take(Run, common)
    loaded = _load(model, source)
    modules = loaded.require_latents().float()
    config = {"model": model, "micro_tokens": how.micro_tokens}
    _train(
        "policy", loaded, modules, source, how, config, lambda states: PolicyCloner(modules, states, how.micro_tokens)
    )


@command.command("evaluate")
@click.option("--model", default="smollm2-135m", show_default=True, help="Known name or model folder.")
@data_options
@click.option("--limit", type=int, default=None, help="Use only the first LIMIT held-out texts.")
@click.option("--samples", default=0, show_default=True, help="Texts to sample for the perplexity of code-made text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate_command(model: str, limit: int | None, samples: int, as_json: bool, **common: Any) -> None:
    """Measure a trained model on held-out text."""
    import json

    from colasearch.training.data import Corpus, split_heldout
    from colasearch.training.evaluate import evaluate
    from colasearch.training.fluency import fluency
    from colasearch.training.hidden_cache import hidden_states

    source = _take(Source, common)
    loaded = _load(model, source)
    modules = loaded.require_latents().float()
    corpus = _corpus(loaded, source)
    _, held = split_heldout(corpus, source.heldout)
    if not held:
        raise click.UsageError(f"none of {len(corpus.documents)} texts is held out at --heldout {source.heldout}")
    chosen = Corpus([corpus.documents[i] for i in held[:limit]], f"{corpus.sha256} heldout {source.heldout} {limit}")
    with _Bar("hidden states") as bar:
        states = hidden_states(loaded.base, chosen, bar.update)
    result = evaluate(modules, loaded.base, states, range(len(chosen.documents)))
    prompts = [d.tokens[: d.prompt] for d in chosen.documents if d.prompt][:samples]
    if prompts:
        result.update(fluency(loaded, prompts))
    if as_json:
        click.echo(json.dumps({"schema": 1, "kind": "evaluate", "model": model, "heldout": result}))
        return
    for key, value in result.items():
        click.echo(f"{key:22} {value:.4f}")


@command.command("problems")
@click.option("--count", type=COUNT, default=30_000, show_default=True, help="How many problems.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal problems.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
def problems_command(count: int, seed: int, output: Path) -> None:
    """Make easy arithmetic word problems with worked solutions, to train on with --data."""
    import json

    from colasearch.files import write_atomic
    from colasearch.training.word_problems import word_problems

    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in word_problems(count, seed)))
    click.echo(f"wrote {count} problems to {output}", err=True)
