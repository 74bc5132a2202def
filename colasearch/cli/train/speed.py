"""``colasearch train speed``: seconds a token of every part of making latent actions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.loading import corpus_of, load
from colasearch.cli.train.options import COUNT, PathType, data_options
from colasearch.cli.train.settings import Source

FEW = 64
"""Rows that a trial needs, where all of them need not be counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedSettings(Source):
    """``colasearch train speed``: fields are named as the flags are; ``own_texts`` is None where neither is given."""

    model: str
    own_texts: bool | None = None
    rows: int = 32
    output: Path | None = None


def few_texts(model: Any, source: Source) -> Any:
    """The first rows as a corpus."""
    from colasearch.training.data.corpus import read_rows
    from colasearch.training.data.documents import Corpus, Layout

    end_id = model.base.end_id if source.end_id is None else source.end_id
    layout = Layout(model.base.tokenizer, end_id, source.max_tokens)
    made = (layout.document(row) for row in read_rows(source.data[0])[:FEW])
    return Corpus([document for document in made if layout.counts(document)], "")


@click.command("speed")
@click.option("--model", required=True, help="Base: known name, folder or hub name.")
@data_options()
@click.option(
    "--own-texts/--given-texts",
    default=None,
    help="Whether codes are to be learned on what the base itself writes [default: where the data has problems with "
    "answers and the base has a chat template].",
)
@click.option("--rows", type=COUNT, default=32, show_default=True, help="Texts written at a time.")
@click.option("--output", type=PathType, help="Also write the JSON object to this file.")
def command(**given: Any) -> None:
    """Measure how fast this machine makes latent actions for a base, as one JSON object.

    `adapt` plans with it. It holds seconds a token of writing, of hidden states and of steps of stages 1 and 2, seconds
    a row of the output head, and what the base and the texts are like.
    """
    run(SpeedSettings(**given))


def run(settings: SpeedSettings) -> None:
    """Measure as ``settings`` say."""
    import time

    from colasearch.storage.files import write_atomic
    from colasearch.training.data.problems import labelled_or_none
    from colasearch.training.reinforcement.rollout import that_fit
    from colasearch.training.speed import TRIAL_TOKENS, measure, micro_tokens, sizes_for

    begun = time.monotonic()
    loaded = load(settings.model, settings)
    loaded_s = time.monotonic() - begun
    base = loaded.base
    problems = [] if settings.own_texts is False else labelled_or_none(settings.data)
    chats = bool(getattr(base.tokenizer, "chat_template", None))
    own = bool(problems) and (chats or settings.own_texts is True)
    if settings.own_texts and not problems:
        raise click.UsageError("--own-texts needs --data with problems and answers, to let the base write on")
    texts = corpus_of(loaded, settings) if not own else few_texts(loaded, settings)
    sizes = sizes_for(loaded)
    fitting = that_fit(base, problems[:FEW], TRIAL_TOKENS) if own else []
    speed = measure(loaded, texts.documents, fitting, sizes, settings.rows)
    report = {
        "schema": 1,
        "kind": "speed",
        "model": settings.model,
        "own_texts": own,
        "problems": len(problems or labelled_or_none(settings.data)),
        "device": base.device.type,
        "width": base.hidden_size,
        "vocabulary": base.vocab_size,
        "context": base.context_length,
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "text_tokens": None if own else texts.tokens,
        "sizes": sizes,
        "micro_tokens": micro_tokens(base.vocab_size, base.device.type),
        "rows": settings.rows,
        "load_seconds": loaded_s,
        "seconds": dataclasses.asdict(speed),
    }
    line = json.dumps(report)
    if settings.output is not None:
        settings.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(settings.output, line + "\n")
    click.echo(line)
