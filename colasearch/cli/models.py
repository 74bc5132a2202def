"""``colasearch models``: what models there are, and fetching one."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group(name="models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the known models and where their weights are."""
    if ctx.invoked_subcommand is not None:
        return
    from colasearch.model.latent_lm import packaged_names
    from colasearch.model.sources import KNOWN, bundled_base, pretrained_root
    from colasearch.storage.files import cache_dir

    rows = []
    for name, known in sorted(KNOWN.items()):
        cached, packaged = cache_dir() / "base" / name, bundled_base(pretrained_root() / name)
        rows.append(
            {
                "name": name,
                "about": known.about,
                "hub": known.hub,
                "latents": name in packaged_names(),
                "packaged": None if packaged is None else str(packaged),
                "cached": str(cached) if cached.is_dir() else None,
            }
        )
    if as_json:
        click.echo(json.dumps({"schema": 1, "models": rows}))
        return
    for row in rows:
        if row["packaged"]:
            where = "part of this installation, base included"
        elif row["hub"] is None:
            where = "missing from this installation: install colasearch again, from a version that ships it"
        elif row["cached"]:
            where = f"cached in {row['cached']}"
        else:
            where = f"not in the cache: `colasearch models fetch {row['name']}`"
        click.echo(f"{row['name']:16} {row['about']}\n{'':16} {where}")
    click.echo("\nAny causal LM works too: give a folder or a hub name (owner/model) as --model.")


@command.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Bring the base weights of model NAME into the cache, and check them."""
    from colasearch.model.latent_lm import latents_folder, load_latents
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
