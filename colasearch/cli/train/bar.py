"""The progress bar of training."""

from __future__ import annotations

import click


class Bar:
    """A rich progress bar on stderr, or a line now and then where stderr is no terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.title, self.task, self.last = title, self.bar.add_task(title, total=None, note=""), 0.0
        self.begun: tuple[float, int] | None = None

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` is done."""
        import time

        self.bar.update(self.task, completed=done, total=total, note=note)
        now = time.monotonic()
        if self.begun is None:
            self.begun = (now, done)  # a run that goes on has done some before
        if not self.console.is_terminal and (now - self.last > 30 or done == total):
            click.echo(f"{self.title}: {done}/{total} {self._left(now, done, total)}{note}", err=True)
            self.last = now

    def _left(self, now: float, done: int, total: int) -> str:
        assert self.begun is not None
        since, first = self.begun
        if not first < done < total:
            return ""
        return f"(about {(now - since) / (done - first) * (total - done):,.0f} s left) "

    def step(self, done: int, total: int, metrics: dict[str, float]) -> None:
        """Show a training step with its metrics."""
        self.update(done, total, " ".join(f"{key} {value:.3g}" for key, value in metrics.items()))
