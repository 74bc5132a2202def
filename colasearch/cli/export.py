"""``colasearch export``: a run's records in another format."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="export", epilog="Example: colasearch export runs/math500 --output math500.parquet")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet"]),
    default="parquet",
    show_default=True,
    help="File format (parquet needs the extra [parquet]).",
)
@click.option("--parquet", is_flag=True, hidden=True, help="The same as --format parquet.")
@click.option("--output", type=click.Path(path_type=Path), help="File [default: problems.parquet in RUN].")
def command(run: Path, kind: str, parquet: bool, output: Path | None) -> None:
    """Write the records of a run, one row a problem and arm, for pandas, DuckDB and the like."""
    from colasearch.benchmarks.harness.parquet import export

    path = output or run / f"problems.{kind}"
    count = export(run, path)
    click.echo(f"{path}: {count} rows")
