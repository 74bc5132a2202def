"""``colasearch adapt``: latent actions for a base in one command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from colasearch.cli.options import config_option, option, stage_log_option

EPILOG = """\b
Examples:
  colasearch adapt smollm2-135m --data gsm8k_train.jsonl --output runs/mine
  colasearch adapt Qwen/Qwen2.5-0.5B-Instruct --data problems.jsonl --minutes 120 --output runs/mine
  colasearch adapt model.gguf --data texts.parquet --tokens 100M --output runs/mine
  colasearch adapt smollm2-135m --data gsm8k_train.jsonl --output runs/mine --resume
"""
COUNT = click.IntRange(min=1)
_SCALE = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
MINUTES = 20.0


class Tokens(click.ParamType[int]):
    """A number of tokens: ``250000``, ``500k``, ``100M``, ``1B``."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmb]?)", str(value).replace("_", "").strip().lower())
        tokens = round(float(found[1]) * _SCALE[found[2]]) if found else 0
        if tokens < 1:
            self.fail(f"{value!r} is no number of tokens; give one such as 250000, 500k or 100M", param, ctx)
        return tokens


@click.command("adapt", epilog=EPILOG)
@click.argument("base")
@click.option(
    "--data",
    multiple=True,
    required=True,
    help="jsonl, parquet, JSON or CSV: problem and answer (solution); or text. hf:OWNER/NAME:SPLIT streams.",
)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Run folder; the model is in its model/."
)
@click.option(
    "--tokens",
    type=Tokens(),
    help="Tokens that stage 1 trains on, repetitions included, such as 500k or 100M. The same result on every run.",
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Time for everything [20].")
@click.option(
    "--own-texts/--given-texts",
    default=None,
    help="Learn codes on what the base itself writes on the problems, right and wrong; or on the texts as they are "
    "[own where the data has problems with answers and the base has a chat template].",
)
@option("--codes", type=COUNT, default=64, help="Size of the codebook.")
@option("--device", default="auto")
@option("--dtype", default="auto", help="Element type of the base's weights.")
@option("--threads", type=COUNT, help="CPU threads [default: torch's choice].")
@option("--seed", type=int, default=0)
@stage_log_option
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, the last line.")
@config_option
def command(
    base: str,
    data: tuple[str, ...],
    output: Path,
    tokens: int | None,
    minutes: float | None,
    resume: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Give BASE latent actions: texts, stage 1, stage 2, a value head, measures; one folder, one command.

    BASE is a known name, a folder, a file or a hub name. Sizes, learning rates and epochs are chosen from the base and
    the budget. Killed anywhere, --resume goes on where it stopped. docs/adapt.md explains what comes out.
    """
    from colasearch.experiments.adapt_run import run_adapting
    from colasearch.experiments.recipes.adapting import Adapting

    if tokens is not None and minutes is not None:
        raise click.UsageError("give --tokens or --minutes, not both")
    how = Adapting(
        base=_absolute(base),
        data=tuple(_absolute(path) for path in data),
        tokens=tokens,
        minutes=MINUTES if minutes is None else minutes,
        **given,
    )
    summary = run_adapting(how, output, resume=resume, say=lambda line: click.echo(line, err=True))
    say(summary)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    return 0


def _absolute(name: str) -> str:
    """Stages run in the run folder, so what is a path here is given whole."""
    return str(Path(name).resolve()) if Path(name).exists() or Path(name).suffix in (".jsonl", ".parquet") else name


def say(summary: dict[str, Any]) -> None:
    """What came out, for people: on standard error, as JSON goes to standard output."""
    held, value = summary["heldout"], summary["value"]
    lines = [
        f"{held['alive']:.0f} codes alive; nats a token: base {held['base_ce']:.3f}, world model {held['wm_ce']:.3f}; "
        f"mixture {held['mixture_kl']:.3f} from the base"
    ]
    if "order" in value:
        lines.append(
            f"value head: {value['order']:.0%} of {value['pairs']:.0f} pairs of right and wrong texts in order"
        )
    took = sum(summary["seconds"].values())
    lines += [f"{took / 60:.1f} minutes; model and card: {summary['model']}", "To try it:"]
    click.echo("\n".join([*lines, *(f"  {line}" for line in summary["try"])]), err=True)
