"""``colasearch solve``: search for the answer of a problem, or of each of several."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from colasearch.benchmarks.names import BASELINES
from colasearch.cli.inputs import read_text_file
from colasearch.cli.options import (
    actions_option,
    backend_option,
    chosen_model,
    compile_option,
    config_option,
    engine_options,
    model_options,
    option,
    search_options,
    worker_options,
)
from colasearch.cli.settings import SolveSettings
from colasearch.cli.solve_run import AT_A_TIME, folder_options, printer, run_folder, solve_all
from colasearch.cli.tasks import task_options
from colasearch.printable import visible
from colasearch.tasks.reading import parse_problems

if TYPE_CHECKING:
    from colasearch.cluster.pool import Pool
    from colasearch.cluster.progress import PoolStatus
    from colasearch.engine.scheduler import Status
    from colasearch.engine.settings import SearchSettings
    from colasearch.model.latent_lm import LatentLM
    from colasearch.problem import Problem, SolveResult

EPILOG = """\b
Examples:
  colasearch solve examples/problem.txt
  echo "What is 3*17?" | colasearch solve - --sims 16 --json
  colasearch solve examples/countdown.json
  echo "Make 52 from 4, 7, 8." | colasearch solve - --searcher puct
  colasearch solve examples/problem.txt --searcher majority --sims 8     # eight whole texts, the most frequent answer
  colasearch solve problems.jsonl --json --output runs/mine
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

    def note(self, text: str) -> None:
        """Show ``text`` as a line that stays."""
        if self.status:
            self.console.print(visible(text), markup=False)
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
@task_options
@option("--searcher", help="Search algorithm: gumbel, puct, ... [default: by model, gumbel for most].")
@option(
    "--sims",
    type=click.IntRange(min=1),
    default=None,
    help="Simulations; of majority, best_of_n and weighted_vote, whole texts (greedy is one) [default: by model, 64 "
    "for most].",
)
@option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=None,
    help="Longest text, in generated tokens [default: by model and task, 1024 for most].",
)
@option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Wall-clock limit.")
@option("--seed", type=int, default=0, help="Same seed, same output.")
@option("--batch-size", type=click.IntRange(min=1), default=16, help="Most leaves evaluated in one batch.")
@actions_option
@option("--temperature", type=click.FloatRange(min=0, min_open=True), default=None, help="Of codes (or tokens).")
@search_options
@engine_options
@backend_option
@compile_option
@worker_options
@folder_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; of several problems one a line.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Solve the problem in FILE (or on standard input) by tree search; or the problems of a jsonl, JSON or CSV file.

    Prints the answer, the winning text, the candidates with their shares of the vote, and what it cost. A share says
    how far the texts found agree, not how likely the answer is right: wrong answers often have 1.000. Ctrl-C prints
    what was found so far. With --ray-address the search runs on one worker there; Ctrl-C then ends it without a result.
    """
    return run(SolveSettings(**given), context)


def run(settings: SolveSettings, context: click.Context) -> int:
    """Solve as ``settings`` say, and show the results; returns the exit code."""
    problems = parse_problems(
        read_text_file(settings.file), settings.file, settings.task, prompt=settings.prompt, columns=settings.columns
    )
    settings.check()
    from colasearch.defaults import searcher_for, sims_for

    with Line() as line:
        tasks = {problem.task for problem in problems}
        # One model for all: the one made for their task, where they have one task.
        model = chosen_model(settings.model, tasks.pop() if len(tasks) == 1 else "math", line.note)
        settings = replace(
            settings,
            model=model,
            searcher=settings.searcher or searcher_for(model),
            sims=settings.sims or sims_for(model),
        )
        line.say("loading")
        if len(problems) > 1 or settings.output is not None:
            return _search_all(line, problems, settings, context)
        result = _search(line, problems[0], settings)
    if settings.as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        show_result(result, problems[0])
    return 130 if result.stop == "interrupted" else 0


@contextmanager
def _ready(
    line: Line, settings: SolveSettings, problems: Sequence[Problem]
) -> Iterator[tuple[LatentLM, Pool | None, SearchSettings]]:
    """The model, the workers that have it (or None), and how each problem is searched."""
    from colasearch.searchers.registry import make

    assert settings.searcher is not None
    make(settings.searcher, dict(settings.options))  # an unknown name must not cost a model's loading time
    from colasearch.cli.workers import with_workers
    from colasearch.defaults import actions_for, sampling_said

    with with_workers(
        settings.machine(min(AT_A_TIME, len(problems))),
        lambda device, dtype: _load(line, device, dtype, settings),
        most=len(problems),
        say=line.say,
        on_status=line.show_pool,
    ) as (lm, pool):
        settings = replace(settings, actions=actions_for(lm, settings.actions, line.note))
        if settings.actions == "sampled" and (said := sampling_said(lm.base, settings.temperature)):
            line.note(said)
        work = f"{settings.sims} {'whole texts' if settings.searcher in BASELINES else 'simulations'}"
        line.say(f"searching, {'one whole text' if settings.searcher == 'greedy' else work} ({settings.searcher})")
        search = settings.search(lm.base, {problem.task for problem in problems})
        search.check()
        yield lm, pool, search


def _search(line: Line, problem: Problem, settings: SolveSettings) -> SolveResult:
    from colasearch.solving import search_one

    with _ready(line, settings, [problem]) as (lm, pool, search):
        done = search_one(lm, problem, search, on_status=line.show, pool=pool)
        assert done.result is not None
        return done.result


def _search_all(line: Line, problems: list[Problem], settings: SolveSettings, context: click.Context) -> int:
    """Several problems, or a run folder: the exit code."""
    from colasearch.cli.again import say_how_to_go_on
    from colasearch.solving import search_each

    show = printer(settings.as_json, show_result, len(problems) > 1)
    output = settings.output
    with _ready(line, settings, problems) as (lm, pool, search), ExitStack() as stack:
        folder = None
        if output is not None:
            assert settings.model is not None
            folder = run_folder(output, settings.resume, problems, search, lm, settings.model, stack)
        code = 130
        try:
            code = solve_all(
                problems,
                lambda todo: search_each(lm, todo, search, slots=AT_A_TIME, on_status=line.show, pool=pool),
                show,
                folder,
            )
        finally:
            if output is not None:
                if code in (0, 1):
                    click.echo(f"Run folder: {output}", err=True)
                else:
                    say_how_to_go_on(context, output)
        return code


def _load(line: Line, device: str, dtype: str, settings: SolveSettings) -> LatentLM:
    import torch

    from colasearch.model.latent_lm import LatentLM

    assert settings.model is not None
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        alone = settings.workers is None and settings.ray_address is None
        lm = LatentLM.from_pretrained(settings.model, device, dtype, report=line.say, run_only=alone)
    lm.base.compiled = settings.compile
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

    from colasearch.engine.verdict import plural
    from colasearch.tasks import checkable_verifier, is_checkable

    console = Console(highlight=False)
    answer = visible(result.answer) if result.answer is not None else "none found"
    judge = checkable_verifier(problem.task) if is_checkable(problem.task) else None
    verdict = None if judge is None or result.answer is None else judge.score(problem, result.answer)
    console.print(Text("Answer: ") + Text(answer, style="bold"))
    if {"numbers", "target"} <= problem.data.keys():
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
    if result.why is not None:
        console.print(Text(f"        {visible(result.why)}", style="yellow"))
    elif result.cut:
        console.print(Text(f"        {plural(result.cut, 'other text')} cut at --max-tokens", style="dim"))
    if result.text:
        console.print()
        console.print(Text(visible(result.text)))
    if result.candidates:
        table = Table(title=None, box=None, pad_edge=False, header_style="dim")
        table.add_column("candidate", max_width=48, overflow="ellipsis", no_wrap=True)
        table.add_column("share of vote", justify="right")
        table.add_column("texts", justify="right")
        if judge is not None:
            table.add_column("verifier", max_width=40, overflow="ellipsis", no_wrap=True)
        for candidate in result.candidates[:8]:
            said = [] if judge is None else [Text(visible(judge.score(problem, candidate.answer).reason))]
            table.add_row(Text(visible(candidate.answer)), f"{candidate.weight:.3f}", str(candidate.count), *said)
        console.print()
        console.print(table)
        console.print(Text("A share of the vote is not the chance that an answer is right.", style="dim"))
        if len(result.candidates) > 8:
            console.print(Text(f"and {len(result.candidates) - 8} more", style="dim"))
    branching = ""
    if result.effective_branching is not None:
        branching = f"effective branching {result.effective_branching:.2f}, "
    console.print()
    console.print(
        Text(
            f"{result.searcher}, {result.sims} simulations, {result.generated_tokens} tokens, "
            f"{result.model_calls} model calls, {result.seconds:.1f} s "
            f"({result.generated_tokens / max(result.seconds, 1e-9):.0f} tokens/s), "
            f"{branching}stopped: {result.stop}, seed {result.seed}",
            style="dim",
        )
    )
