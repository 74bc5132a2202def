"""``colasearch solve``: search for the answer of one problem."""

from __future__ import annotations

import json
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.inputs import parse_problem, read_text_file
from colasearch.cli.options import config_option, engine_options, model_options, option, search_options, worker_options
from colasearch.printable import visible

if TYPE_CHECKING:
    from colasearch.cluster.progress import PoolStatus
    from colasearch.engine.scheduler import Status
    from colasearch.model.latent_lm import LatentLM
    from colasearch.problem import Problem, SolveResult

EPILOG = """\b
Examples:
  colasearch solve problem.txt
  echo "What is 3*17?" | colasearch solve - --sims 16 --json
  colasearch solve examples/countdown.json --model countdown-tiny
  echo "Make 52 from 4, 7, 8." | colasearch solve - --searcher puct
"""


class Line:
    """A status line on stderr that is rewritten in place; silent where stderr is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.status = self.console.status("starting") if self.console.is_terminal else None
        self.last = 0.0

    def __enter__(self) -> Line:
        if self.status:
            self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status:
            self.status.stop()

    def say(self, text: str) -> None:
        """Show ``text`` in the status line, or as a line of its own where there is none."""
        if self.status:
            self.status.update(visible(text))
        else:
            click.echo(text, err=True)

    def show(self, status: Status) -> None:
        """Show how far a search is, a few times a second at most."""
        now = time.monotonic()
        if self.status is None or now - self.last < 0.2:
            return
        self.last = now
        speed = status.generated_tokens / max(status.seconds, 1e-9)
        self.status.update(
            f"{status.sims}/{status.sims_total} simulations, {status.finished} finished texts, "
            f"{status.generated_tokens} tokens, {speed:.0f} tokens/s, {status.seconds:.0f} s"
        )

    def show_pool(self, status: PoolStatus) -> None:
        """Show how far a search on a Ray worker is."""
        if self.status is not None:
            waiting = "" if status.workers else "waiting for a worker, "
            self.status.update(f"{waiting}{status.sims} simulations, {status.tokens} tokens, {status.seconds:.0f} s")


@click.command(name="solve", epilog=EPILOG)
@click.argument("file", metavar="FILE|-")
@model_options
@option(
    "--task",
    type=click.Choice(["math", "countdown"]),
    default=None,
    help="How to ask, and how to check [default: countdown for numbers and a target, else math].",
)
@option("--searcher", default="gumbel", help="Search algorithm: gumbel, puct, ...")
@option("--sims", type=click.IntRange(min=1), default=64, help="Simulations.")
@option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=None,
    help="Longest text, in generated tokens [default: 256, or half of a short context].",
)
@option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Wall-clock limit.")
@option("--seed", type=int, default=0, help="Same seed, same output.")
@option("--batch-size", type=click.IntRange(min=1), default=16, help="Most leaves evaluated in one batch.")
@option("--actions", type=click.Choice(["latent", "sampled"]), default="latent", help="Codes, or tokens of the base.")
@option("--temperature", type=click.FloatRange(min=0, min_open=True), default=None, help="Of codes (or tokens).")
@search_options
@engine_options
@worker_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: str,
    model: str,
    device: str,
    dtype: str,
    threads: int | None,
    task: str | None,
    searcher: str,
    sims: int,
    max_tokens: int | None,
    max_seconds: float | None,
    seed: int,
    batch_size: int,
    actions: str,
    temperature: float | None,
    options: dict[str, Any],
    branch_below: float | None,
    max_step_tokens: int,
    values: str,
    check_steps: bool,
    complete: bool,
    compile: bool,
    engine: str,
    kv_memory: float,
    workers: int | None,
    ray_address: str | None,
    as_json: bool,
) -> int:
    """Solve the problem in FILE (or on standard input) by tree search.

    Prints the answer, the winning text, the candidates with their weights, and what it cost. Ctrl-C prints what was
    found so far. With --ray-address the search runs on one worker there; Ctrl-C then ends it without a result.
    """
    problem = parse_problem(read_text_file(file), task)
    with Line() as line:
        line.say("loading")
        result = _search(
            line,
            problem,
            model,
            {
                "device": device,
                "dtype": dtype,
                "threads": threads,
                "compile": compile,
                "workers": workers,
                "ray_address": ray_address,
                "batch_size": 1,  # one problem; --batch-size is of its leaves
            },
            {
                "max_tokens": max_tokens,
                "max_step_tokens": max_step_tokens,
                "branch_below": branch_below,
                "value_head": values == "head",
                "check_steps": check_steps,
                "complete": complete,
                "sampling": temperature,
                "engine": engine,
                "kv_memory": kv_memory,
            },
            {
                "searcher": searcher,
                "sims": sims,
                "seed": seed,
                "actions": actions,
                "max_seconds": max_seconds,
                "leaves_in_flight": batch_size,
                **options,
            },
        )
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        show_result(result, problem)
    return 130 if result.stop == "interrupted" else 0


def _search(
    line: Line, problem: Any, model: str, run: dict[str, Any], limits: dict[str, Any], how: dict[str, Any]
) -> SolveResult:
    from colasearch.searchers.registry import make

    known = ("searcher", "sims", "seed", "actions", "max_seconds", "leaves_in_flight")
    # An unknown name must not cost a model's loading time.
    make(how["searcher"], {key: value for key, value in how.items() if key not in known})
    from colasearch.cli.workers import with_workers
    from colasearch.engine.settings import Sampling, WorldConfig
    from colasearch.solve import solve

    heat = limits["sampling"]
    sampling = Sampling() if heat is None else Sampling(temperature=heat, token_temperature=heat)
    with with_workers(
        run,
        lambda device, dtype: _load(line, model, device, dtype, run),
        most=1,
        say=line.say,
        on_status=line.show_pool,
    ) as (lm, pool):
        line.say(f"searching, {how['sims']} simulations")
        return solve(
            problem,
            lm,
            config=WorldConfig(
                max_tokens=limits["max_tokens"] or lm.base.text_length,
                max_step_tokens=limits["max_step_tokens"],
                branch_below=limits["branch_below"],
                value_head=limits["value_head"],
                check_steps=limits["check_steps"],
                complete=limits["complete"],
                sampling=sampling,
                engine=limits["engine"],
                kv_bytes=int(limits["kv_memory"] * 2**30),
            ),
            on_status=line.show,
            pool=pool,
            **how,
        )


def _load(line: Line, model: str, device: str, dtype: str, run: dict[str, Any]) -> LatentLM:
    import torch

    from colasearch.model.latent_lm import LatentLM

    if run["threads"]:
        torch.set_num_threads(run["threads"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        lm = LatentLM.from_pretrained(model, device, dtype, report=line.say)
    lm.base.compiled = run["compile"]
    for warning in caught:
        if "colasearch" in str(warning.filename):
            click.echo(f"Warning: {warning.message}", err=True)
    return lm


def show_result(result: SolveResult, problem: Problem) -> None:
    """Print a result for people, each candidate with what a checkable verifier says of it.

    Text from the model is shown literally: no markup, no terminal escapes.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from colasearch.verifiers import checkable_verifier, is_checkable

    console = Console(highlight=False)
    answer = visible(result.answer) if result.answer is not None else "none found"
    judge = checkable_verifier(problem.task) if is_checkable(problem.task) else None
    verdict = None if judge is None or result.answer is None else judge.score(problem, result.answer)
    console.print(Text("Answer: ") + Text(answer, style="bold"))
    if problem.task == "countdown":
        numbers = ", ".join(map(str, problem.data["numbers"]))
        console.print(Text(f"        to make {problem.data['target']} from {numbers}"))
    if verdict is not None:
        found = "accepted" if verdict.correct else "rejected"
        console.print(
            Text(
                f"        {found} by the verifier: {visible(verdict.reason)}",
                style="green" if verdict.correct else "red",
            )
        )
    if result.text:
        console.print()
        console.print(Text(visible(result.text)))
    if result.candidates:
        table = Table(title=None, box=None, pad_edge=False, header_style="dim")
        table.add_column("candidate", max_width=48, overflow="ellipsis", no_wrap=True)
        table.add_column("weight", justify="right")
        table.add_column("texts", justify="right")
        if judge is not None:
            table.add_column("verifier", max_width=40, overflow="ellipsis", no_wrap=True)
        for candidate in result.candidates[:8]:
            said = [] if judge is None else [Text(visible(judge.score(problem, candidate.answer).reason))]
            table.add_row(Text(visible(candidate.answer)), f"{candidate.weight:.3f}", str(candidate.count), *said)
        console.print()
        console.print(table)
        if len(result.candidates) > 8:
            console.print(Text(f"and {len(result.candidates) - 8} more", style="dim"))
    console.print()
    console.print(
        Text(
            f"{result.searcher}, {result.sims} simulations, {result.generated_tokens} tokens, "
            f"{result.model_calls} model calls, {result.seconds:.1f} s "
            f"({result.generated_tokens / max(result.seconds, 1e-9):.0f} tokens/s), "
            f"effective branching {result.effective_branching:.2f}, stopped: {result.stop}, seed {result.seed}",
            style="dim",
        )
    )
