"""``colasearch export``: a run's records, or a model's base, in another format."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  colasearch export runs/math500 --output math500.parquet
  colasearch export smollm2-135m --safetensors --output smollm2-tuned
  colasearch export smollm2-135m --peft --output smollm2-lora
"""


@click.command(name="export", epilog=EPILOG)
@click.argument("source", metavar="RUN|MODEL", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "safetensors", "peft"]),
    help="parquet: records of a run (needs the extra [parquet]). Of a model, its base without latent modules: "
    "safetensors, a whole Transformers folder; peft, the LoRA changes of its fine-tuning.  [default: parquet]",
)
@click.option("--parquet", "short", flag_value="parquet", help="Short for --format parquet.")
@click.option("--safetensors", "short", flag_value="safetensors", help="Short for --format safetensors.")
@click.option("--peft", "short", flag_value="peft", help="Short for --format peft.")
@click.option("--output", type=click.Path(path_type=Path), help="File [default: problems.parquet in RUN], or folder.")
def command(source: Path, kind: str | None, short: str | None, output: Path | None) -> None:
    """Write the records of a run, one row a problem and arm, for pandas, DuckDB and the like; or a model's base.

    The base goes as colasearch runs it, with the changes of its fine-tuning, for programs that know no latent actions.
    """
    kind = kind or short or "parquet"
    if short not in (None, kind):
        raise click.UsageError(f"--format {kind} and --{short} are both given; give one")
    if kind == "parquet":
        from colasearch.benchmarks.harness.parquet import export

        path = output or source / f"problems.{kind}"
        click.echo(f"{path}: {export(source, path)} rows")
        return
    if output is None:
        raise click.UsageError(f"--format {kind} needs --output, a new folder")
    from colasearch.model.exporting import export_base, export_peft

    names = (export_peft if kind == "peft" else export_base)(str(source), output)
    click.echo(f"{output}: {', '.join(names)}")
