"""``colasearch env``: versions and folders, for bug reports."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata

import click

PACKAGES = ("torch", "transformers", "numpy", "sympy", "math-verify", "safetensors", "click", "rich", "ray", "uvicorn")


@click.command(name="env")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Print versions, devices and folders."""
    from colasearch import __version__
    from colasearch.storage.files import cache_dir

    facts: dict[str, str] = {"colasearch": __version__, "python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    facts["platform"] = platform.platform()
    facts["cpus"] = str(os.cpu_count())
    import torch

    facts["cuda"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    facts["threads"] = str(torch.get_num_threads())
    facts["cache"] = str(cache_dir())
    if as_json:
        click.echo(json.dumps({"schema": 1, **facts}))
        return
    for key, value in facts.items():
        click.echo(f"{key:14} {value}")
