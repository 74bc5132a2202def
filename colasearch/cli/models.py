"""``colasearch models``: what models there are; fetching, naming and removing them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from colasearch.model.inventory import Entry


@click.group(name="models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the models: where their weights are, their size, and whether they fit this machine's memory."""
    if ctx.invoked_subcommand is not None:
        return
    from colasearch.model.inventory import entries, machine_bytes

    rows = entries()
    if as_json:
        click.echo(
            json.dumps({"schema": 1, "memory_bytes": machine_bytes(), "models": [_row(entry) for entry in rows]})
        )
        return
    for entry in rows:
        lines = [entry.about, _where(entry)]
        if entry.tasks:
            lines.append(f"made for: {', '.join(entry.tasks)}")
        lines.append(_size(entry, machine_bytes()))
        click.echo(f"{entry.name:20} " + f"\n{'':20} ".join(filter(None, lines)))
    click.echo(
        "\nAny causal LM works too: give a folder, a GGUF file, a peft LoRA folder or a hub name (owner/model) as "
        "--model.\nGive one a short name: colasearch models add NAME PATH"
    )


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "about": entry.about,
        "hub": entry.hub,
        "tasks": list(entry.tasks),
        "latents": entry.latents,
        "packaged": None if entry.packaged is None else str(entry.packaged),
        "cached": None if entry.cached is None else str(entry.cached),
        "path": None if entry.path is None else str(entry.path),
        "disk_bytes": entry.disk_bytes,
        "needs_bytes": entry.needs_bytes,
        "fits": entry.fits,
    }


def _where(entry: Entry) -> str:
    if entry.path is not None:
        return f"{entry.path}" + ("" if entry.cached is None else f", converted in {entry.cached}")
    if entry.packaged:
        return "part of this installation, base included"
    if entry.hub is None:
        return "missing from this installation: install colasearch again, from a version that ships it"
    if entry.cached:
        return f"cached in {entry.cached}"
    return f"not in the cache: `colasearch models fetch {entry.name}`"


def _size(entry: Entry, memory: int) -> str:
    parts = [f"{entry.disk_bytes / 1e6:,.0f} MB on disk"] if entry.disk_bytes else []
    if entry.needs_bytes is not None:
        fits = "fits" if entry.fits else "DOES NOT FIT"
        parts.append(
            f"about {entry.needs_bytes / 1e9:.1f} GB to run on a CPU: {fits} this machine's {memory / 1e9:.1f}"
        )
    return "; ".join(parts)


@command.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
def add(name: str, path: Path) -> None:
    """Let NAME stand for the model folder, peft adapter folder or GGUF file at PATH, wherever --model is given.

    The files stay where they are. What they hold is checked now; a GGUF file is converted when it is first used.
    """
    from colasearch.errors import InputError
    from colasearch.model.folders import latents_folder, packaged_names
    from colasearch.model.known import KNOWN
    from colasearch.model.latent_lm import load_latents
    from colasearch.model.registry import register
    from colasearch.model.sources import find_base

    if name in KNOWN or name in packaged_names():
        raise InputError(f"{name!r} is a model that colasearch knows; choose another name")
    path = path.expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist; give a model folder or a GGUF file")
    if path.is_file() and path.suffix.lower() != ".gguf":
        raise InputError(f"{path} is a file, but no .gguf; give a GGUF file or the folder that the weights are in")
    if path.is_dir():
        folder = latents_folder(str(path))
        if folder is not None:
            load_latents(folder)
        else:
            find_base(str(path.resolve()), lambda line: click.echo(line, err=True))
    register(name, path)
    click.echo(f"{name}: {path.resolve()}; try: colasearch solve problem.txt --model {name}")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Delete the cached copy of NAME (a known model, or a GGUF file), or forget a name given with `models add`.

    Your own files are never deleted.
    """
    from colasearch.errors import InputError
    from colasearch.model.inventory import removable
    from colasearch.model.inventory import remove as remove_model

    what, _ = removable(name)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"this would {what}; there is no terminal to ask on: give --yes")
        click.confirm(f"This will {what}. Go on?", abort=True, err=True)
    remove_model(name)
    click.echo(f"Done: {what}.")


@command.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Bring the base weights of model NAME into the cache, and check them."""
    from colasearch.model.folders import latents_folder
    from colasearch.model.latent_lm import load_latents
    from colasearch.model.sources import find_base

    folder = latents_folder(name)
    base_name = name if folder is None else load_latents(folder).config.base.name
    found = find_base(base_name, lambda line: click.echo(line, err=True))
    click.echo(f"{name}: {found.path} ({found.identity.revision or 'local'}, SHA-256 {found.identity.sha256})")


@command.command("import-cola")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Model folder to make.")
def import_released(source: Path, output: Path) -> None:
    """Make a model folder of a released CoLA checkpoint in DIR (IntentionForCausalLM, safetensors)."""
    from colasearch.model.import_cola import import_cola

    done = import_cola(source, output, lambda line: click.echo(line, err=True))
    click.echo(
        f"{done.folder}: {done.config.num_codes} codes, {done.base_tensors} tensors of the base, "
        f"{done.latent_tensors} of the latent modules; try: colasearch solve problem.txt --model {done.folder}"
    )
