"""Solve one problem: search over the model, group the answers found, vote.

from colasearch import solve
print(solve("Tom has 3 apples and buys 5 more. How many has he?", sims=16).answer)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colasearch.benchmarks.names import BASELINES
from colasearch.defaults import actions_for, sampling_for, searcher_for, sims_for, text_limit
from colasearch.engine.scheduler import Searched, Status, search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.errors import ColasearchError, PrerequisiteError
from colasearch.model.known import DEFAULT_MODEL, model_for
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, SolveResult
from colasearch.searchers.registry import spelled
from colasearch.tasks import get_task
from colasearch.whole_texts import draw
from colasearch.wording import problem_of

if TYPE_CHECKING:
    from colasearch.cluster.pool import Pool


def load(model: str = DEFAULT_MODEL, device: str = "auto", dtype: str = "auto") -> LatentLM:
    """A model, for several calls of :func:`solve`.

    Args:
        model: Known name, folder or hub name.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto``, ``packed``, ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        PrerequisiteError: It cannot be found, or not be fetched.
        CorruptFileError: A file does not match its SHA-256.
    """
    return LatentLM.from_pretrained(model, device, dtype)


def solve(
    problem: Problem | str,
    model: LatentLM | str | None = None,
    *,
    searcher: str | None = None,
    sims: int | None = None,
    seed: int = 0,
    actions: str = "auto",
    max_seconds: float | None = None,
    leaves_in_flight: int = 16,
    config: WorldConfig | None = None,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
    **options: Any,
) -> SolveResult:
    """Search for the answer of ``problem``.

    Args:
        problem: A problem, or the text of one: of mathematics, or of Countdown (``Make 52 from 4, 7, 8.``).
        model: A loaded model, or its name; None: the shipped model that was made for the task, else the default.
        searcher: Algorithm, as in ``colasearch.searchers.run``; None: by model, ``gumbel`` for most.
        sims: Simulations; None: by model, 64 for most. One of ``greedy``, ``majority``, ``best_of_n`` and
            ``weighted_vote`` is one whole text.
        seed: Fixes the result, with the problem's id.
        actions: ``latent``, or ``sampled``: first tokens drawn from the base itself; ``auto``: codes where the model
            has them.
        max_seconds: Wall-clock limit; what was found by then counts.
        leaves_in_flight: Most leaves evaluated in one batch.
        config: Limits and sampling of the world; without it those of model and task (``colasearch.defaults``).
        on_status: Called now and then with how far the search is.
        pool: Workers that search in place of this process; made with the same model.
        options: Options of the algorithm.

    Returns:
        The result. Ctrl-C during a search in this process does not raise: the result says ``stop = interrupted``.

    Raises:
        InputError: A bad option, or a prompt longer than the model's context.
        PrerequisiteError: The model cannot be found, or has no latent modules.
    """
    done = search(
        problem,
        model,
        searcher=searcher,
        sims=sims,
        seed=seed,
        actions=actions,
        max_seconds=max_seconds,
        leaves_in_flight=leaves_in_flight,
        config=config,
        on_status=on_status,
        pool=pool,
        **options,
    )
    assert done.result is not None
    return done.result


def search(
    problem: Problem | str,
    model: LatentLM | str | None = None,
    *,
    searcher: str | None = None,
    sims: int | None = None,
    seed: int = 0,
    actions: str = "auto",
    max_seconds: float | None = None,
    leaves_in_flight: int = 16,
    config: WorldConfig | None = None,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
    **options: Any,
) -> Searched:
    """As :func:`solve`, with the tree: ``.result`` is what ``solve`` returns, ``.trace`` all nodes and texts.

    The trace is what a run folder keeps: ``.trace.write(path)`` makes a file that ``colasearch view`` shows.
    """
    (done,) = _search_all(
        [problem],
        model,
        on_status=on_status,
        pool=pool,
        searcher=searcher,
        sims=sims,
        config=config,
        seed=seed,
        actions=actions,
        max_seconds=max_seconds,
        leaves_in_flight=leaves_in_flight,
        options=options,
    )
    if done.error is not None:
        raise done.error
    return done


def solve_all(
    problems: Iterable[Problem | str],
    model: LatentLM | str | None = None,
    *,
    searcher: str | None = None,
    sims: int | None = None,
    seed: int = 0,
    actions: str = "auto",
    max_seconds: float | None = None,
    leaves_in_flight: int = 16,
    config: WorldConfig | None = None,
    at_a_time: int = 8,
    **options: Any,
) -> Iterator[SolveResult]:
    """Search for the answers of several problems, ``at_a_time`` of them in one batch; yields results as they are done.

    ``SolveResult.problem_id`` says whose a result is; no result depends on the others. Without ``model`` all problems
    go to the one that was made for their task, where they have one task.

    Raises:
        InputError: As :func:`solve`; or there is a problem that cannot be searched: those before it are yielded.
        PrerequisiteError: As :func:`solve`.
    """
    every = _search_all(
        list(problems),
        model,
        slots=at_a_time,
        searcher=searcher,
        sims=sims,
        config=config,
        seed=seed,
        actions=actions,
        max_seconds=max_seconds,
        leaves_in_flight=leaves_in_flight,
        options=options,
    )
    for done in every:
        if done.error is not None:
            raise done.error
        assert done.result is not None
        yield done.result


def _search_all(
    given: Sequence[Problem | str],
    model: LatentLM | str | None,
    *,
    searcher: str | None,
    sims: int | None,
    config: WorldConfig | None,
    slots: int = 1,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
    **settings: Any,
) -> Iterator[Searched]:
    """Load what is needed, and search; ``settings`` are further fields of ``SearchSettings``."""
    problems = [problem_of(one) if isinstance(one, str) else one for one in given]
    tasks = {get_task(problem.task).name for problem in problems}
    if isinstance(model, LatentLM):
        name = model.name
    else:
        name = model or (model_for(tasks.pop()) if len(tasks) == 1 else DEFAULT_MODEL)
    found = SearchSettings(
        searcher=spelled(searcher or searcher_for(name)), sims=sims_for(name) if sims is None else sims, **settings
    )
    found.check()  # before a model is loaded
    if not problems:
        return
    lm = model if isinstance(model, LatentLM) else LatentLM.from_pretrained(name, run_only=pool is None)
    if config is None:
        limit = text_limit(lm.base, {problem.task for problem in problems})
        config = WorldConfig(max_tokens=limit, sampling=sampling_for(lm.base))
    found = replace(found, world=config, actions=actions_for(lm, found.actions))
    yield from search_each(lm, problems, found, slots=slots, on_status=on_status, pool=pool)


def search_one(
    lm: LatentLM,
    problem: Problem,
    settings: SearchSettings,
    *,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
) -> Searched:
    """One problem's result and trace; see :func:`search_each`.

    Raises:
        ColasearchError: The problem cannot be searched; see :func:`solve`.
    """
    (done,) = search_each(lm, [problem], settings, on_status=on_status, pool=pool)
    if done.error is not None:
        raise done.error
    return done


def search_each(
    lm: LatentLM,
    problems: Sequence[Problem],
    settings: SearchSettings,
    *,
    slots: int = 1,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
) -> Iterator[Searched]:
    """Each problem as it is done, in any order; a sampling searcher draws whole texts, as in ``bench``.

    Args:
        lm: The model.
        problems: The problems. What is wrong with one alone is in its ``Searched.error``.
        settings: How each is searched.
        slots: Problems searched together in this process; no result depends on it.
        on_status: Called now and then with how far the search is.
        pool: Workers that search in place of this process.

    Raises:
        PrerequisiteError: A server of values is down, or the model has no latent modules.
    """
    if not problems:
        return
    if settings.searcher in BASELINES:
        for problem in problems:
            yield _drawn(lm, problem, settings, on_status, pool)
    elif pool is not None:
        yield from pool.search(problems, settings)
    else:
        yield from search_problems(lm, problems, settings, slots=slots, on_status=on_status)


def _drawn(
    lm: LatentLM,
    problem: Problem,
    settings: SearchSettings,
    on_status: Callable[[Status], None] | None,
    pool: Pool | None,
) -> Searched:
    """Whole texts of one problem; an error that others need not share is in what comes back."""
    try:
        done = draw(lm, problem, settings, on_status=on_status, pool=pool)
    except PrerequisiteError:
        raise
    except ColasearchError as error:
        return Searched(problem, None, None, error)
    if isinstance(done.error, PrerequisiteError):
        raise done.error
    return done
