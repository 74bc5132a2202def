"""Solve one problem: search over the model, group the answers found, vote.

from colasearch import solve
print(solve("Tom has 3 apples and buys 5 more. How many has he?", sims=16).answer)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colasearch.engine.scheduler import Status, search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, SolveResult
from colasearch.tasks import get_task

if TYPE_CHECKING:
    from colasearch.cluster.pool import Pool

DEFAULT_MODEL = "smollm2-135m"


def solve(
    problem: Problem | str,
    model: LatentLM | str = DEFAULT_MODEL,
    *,
    searcher: str = "gumbel",
    sims: int = 64,
    seed: int = 0,
    actions: str = "latent",
    max_seconds: float | None = None,
    leaves_in_flight: int = 16,
    config: WorldConfig | None = None,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
    **options: Any,
) -> SolveResult:
    """Search for the answer of ``problem``.

    Args:
        problem: A problem, or the text of a math problem.
        model: A loaded model, or its name.
        searcher: Algorithm, as in ``colasearch.searchers.run``.
        sims: Simulations.
        seed: Fixes the result, with the problem's id.
        actions: ``latent``, or ``sampled``: first tokens drawn from the base itself (for models without codes).
        max_seconds: Wall-clock limit; what was found by then counts.
        leaves_in_flight: Most leaves evaluated in one batch.
        config: Limits and sampling of the world; without it texts have up to 256 tokens, or half of a short context.
        on_status: Called now and then with how far the search is.
        pool: Workers that search in place of this process; made with the same model.
        options: Options of the algorithm.

    Returns:
        The result. Ctrl-C during a search in this process does not raise: the result says ``stop = interrupted``.

    Raises:
        InputError: A bad option, or a prompt longer than the model's context.
        PrerequisiteError: The model cannot be found, or has no latent modules.
    """
    if isinstance(problem, str):
        problem = Problem.from_text(problem)
    get_task(problem.task)
    settings = SearchSettings(
        searcher=searcher,
        sims=sims,
        seed=seed,
        actions=actions,
        leaves_in_flight=leaves_in_flight,
        max_seconds=max_seconds,
        world=config or WorldConfig(),
        options=options,
    )
    settings.check()
    lm = LatentLM.from_pretrained(model) if isinstance(model, str) else model
    if config is None:
        settings = replace(settings, world=WorldConfig(max_tokens=lm.base.text_length))
    if pool is None:
        (done,) = search_problems(lm, [problem], settings, on_status=on_status)
    else:
        (done,) = pool.search([problem], settings)
    if done.error is not None:
        raise done.error
    assert done.result is not None
    return done.result
