"""``colasearch serve``: an OpenAI-compatible server of searches."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.options import (
    actions_option,
    chosen_model,
    compile_option,
    config_option,
    engine_options,
    model_options,
    option,
    search_options,
)
from colasearch.cli.settings import ServeSettings
from colasearch.cli.tasks import task_options
from colasearch.errors import PrerequisiteError

if TYPE_CHECKING:
    from colasearch.model.latent_lm import LatentLM
    from colasearch.serve.app import App

NEEDED = ("starlette", "uvicorn", "prometheus_client")
EPILOG = """\b
Examples:
  colasearch serve --model countdown-tiny --port 8000
  colasearch serve --model qwen2.5-coder-0.5b --actions sampled --sims 32
  COLASEARCH_API_KEY=secret colasearch serve --host 0.0.0.0 --port 8000
"""


@click.command(name="serve", epilog=EPILOG)
@model_options
@task_options
@option("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 lets other machines in.")
@option("--port", type=click.IntRange(0, 65535), default=8000, help="Port; 0 takes a free one.")
@option("--api-key", default=None, help="Key that clients must send (better in COLASEARCH_API_KEY) [default: none].")
@option("--served-name", default=None, help="Name of the model for clients [default: as in --model].")
@option("--searcher", help="Search algorithm of the plain model name [default: by model, gumbel for most].")
@option(
    "--sims",
    type=click.IntRange(min=1),
    default=None,
    help="Simulations, where a model name gives none [default: by model, 64 for most].",
)
@option("--max-sims", type=click.IntRange(min=1), default=1024, help="Most simulations that a name may ask for.")
@option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=None,
    help="Longest text, which a request may lower [default: by model and task; a request may raise it].",
)
@option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Limit of a search's time.")
@option("--seed", type=int, default=0, help="Where a request gives none.")
@option("--batch-size", type=click.IntRange(min=1), default=16, help="Most leaves of one search in one batch.")
@actions_option
@option("--temperature", type=click.FloatRange(min=0, min_open=True), default=None, help="Of codes (or tokens).")
@option("--slots", type=click.IntRange(min=1), default=8, help="Requests searched at a time, in one batch.")
@option("--queue", type=click.IntRange(min=0), default=256, help="Requests that may wait; more are answered 429.")
@option("--max-body", type=click.IntRange(min=1), default=1 << 20, help="Most bytes of a request; else 413.")
@option("--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, help="Seconds to an answer; else 408.")
@option("--drain", type=click.FloatRange(min=0), default=30.0, help="Seconds for requests in hand after a signal.")
@search_options
@engine_options
@compile_option
@config_option
def command(**given: Any) -> int:
    """Serve searches to OpenAI's clients: chat completions whose model names choose searcher and simulations.

    With --model M, a request for M is searched as the flags say, M:puct-128 by puct with 128 simulations, M:best-of-8
    is the best of eight whole texts, M:greedy one. docs/serve.md has what requests may say. Ctrl-C or SIGTERM: no more
    requests are taken, and those in hand have --drain seconds to end.
    """
    return run(ServeSettings(**given))


def run(settings: ServeSettings) -> int:
    """Serve until a signal comes."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise PrerequisiteError(f"serve needs {', '.join(missing)}; install them: pip install '.[serve]'")
    from colasearch.serve import running

    listening = running.listen(settings.host, settings.port)
    try:
        app = make_app(settings)
        if settings.api_key is None and not _is_local(settings.host):
            _say(f"Warning: anybody who reaches {settings.host} may use this server; give it a key with --api-key")
        _say(f"Serving {app.service.names.model} at {running.address_of(listening)}/v1")
        running.run(app, listening, settings.drain, _say)
    finally:
        listening.close()
    return 0


def make_app(settings: ServeSettings) -> App:
    """The application with its model; its engine has not been started."""
    from colasearch.defaults import SEARCHER, actions_for, searcher_for, sims_for
    from colasearch.searchers.registry import make
    from colasearch.serve.app import App, Service
    from colasearch.serve.engine import Engine
    from colasearch.serve.names import Names
    from colasearch.tasks import settled

    make(settings.searcher or SEARCHER, dict(settings.options))  # an unknown name must not cost a model's loading time
    task = settings.task
    if task is not None:
        task = settled(task, prompt=settings.prompt, columns=settings.columns)
    name = chosen_model(settings.model, task or "math", _say)
    lm = _load(name, settings)
    settings = replace(
        settings,
        actions=actions_for(lm, settings.actions, _say),
        searcher=settings.searcher or searcher_for(name),
        sims=settings.sims or sims_for(name),
    )
    search = settings.search(lm.base, {task or "math"})
    search.check()
    service = Service(
        Names(settings.served_name or name, search.searcher, search.sims, max(settings.max_sims, search.sims)),
        search,
        max_tokens=settings.max_tokens,
        task=task,
        prompt=settings.prompt,
        columns=settings.columns,
        api_key=settings.api_key,
        body_bytes=settings.max_body,
        timeout=settings.timeout,
    )
    return App(Engine(lm, slots=settings.slots, most_waiting=settings.queue), service)


def _load(name: str, settings: ServeSettings) -> LatentLM:
    import torch

    from colasearch.model.latent_lm import LatentLM

    if settings.threads:
        torch.set_num_threads(settings.threads)
    lm = LatentLM.from_pretrained(name, settings.device, settings.dtype, report=_say, run_only=True)
    lm.base.compiled = settings.compile
    if settings.actions == "latent":
        lm.require_latents()
    return lm


def _say(text: str) -> None:
    click.echo(text, err=True)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
