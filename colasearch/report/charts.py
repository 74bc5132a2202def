"""Line charts with intervals as bars: plain data that the web page draws, and that matplotlib draws into files.

Knows nothing about benchmarks; training curves use it as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from colasearch.errors import PrerequisiteError
from colasearch.storage.files import write_atomic

# Okabe and Ito's colours in an order in which neighbours differ in lightness, too; `page/style.css` has the same ones.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#7f7f7f", "#aa4499", "#b8860b", "#56b4e9", "#222222")
GREY = 3
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one point.

    Attributes:
        name: As the legend has it.
        x, y: Equally many numbers; points with a non-finite number are not drawn.
        low, high: Ends of the interval of each ``y``, drawn as a bar; both or neither.
        color: Place in ``PALETTE``; lines that belong together share it.
        dashed: Drawn dashed with hollow marks.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    color: int = 0
    dashed: bool = False

    def __post_init__(self) -> None:
        lengths = {len(self.x), len(self.y)} | {len(band) for band in (self.low, self.high) if band is not None}
        if len(lengths) != 1 or (self.low is None) != (self.high is None):
            raise ValueError(
                f"series {self.name!r}: x, y, low and high must have equal lengths, low and high go together"
            )

    def finite(self) -> Series:
        """Without the points that cannot be drawn."""
        columns = [c for c in (self.x, self.y, self.low, self.high) if c is not None]
        keep = [i for i in range(len(self.x)) if all(math.isfinite(column[i]) for column in columns)]

        def take(column: Sequence[float] | None) -> tuple[float, ...] | None:
            return None if column is None else tuple(float(column[i]) for i in keep)

        return replace(self, x=take(self.x) or (), y=take(self.y) or (), low=take(self.low), high=take(self.high))


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        name: File name without suffix.
        title: Short.
        x_label, y_label: With units.
        series: In the order of the legend.
        log_x: Logarithmic x axis; needs positive x.
        percent: ``y`` is a share of 1, shown in percent.
        note: One sentence on how to read it.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    percent: bool = False
    note: str = ""

    def drawable(self) -> Chart:
        """Without points that cannot be drawn (not finite; not positive on a logarithmic axis) and empty series."""
        kept = []
        for series in self.series:
            shown = series.finite()
            if self.log_x and any(x <= 0 for x in shown.x):
                positive = [x if x > 0 else math.nan for x in shown.x]
                shown = replace(shown, x=positive).finite()
            if shown.x:
                kept.append(shown)
        return replace(self, series=tuple(kept))

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page; holds finite numbers only."""
        chart = self.drawable()
        return {
            "name": chart.name,
            "title": chart.title,
            "x_label": chart.x_label,
            "y_label": chart.y_label,
            "log_x": chart.log_x,
            "percent": chart.percent,
            "note": chart.note,
            "series": [
                {
                    "name": s.name,
                    "x": list(s.x),
                    "y": list(s.y),
                    "low": None if s.low is None else list(s.low),
                    "high": None if s.high is None else list(s.high),
                    "color": s.color,
                    "dashed": s.dashed,
                }
                for s in chart.series
            ],
        }


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def draw(chart: Chart, folder: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Draw ``chart`` into ``folder``, once a format; equal charts give equal SVG bytes.

    Returns:
        The files written.

    Raises:
        PrerequisiteError: matplotlib is not installed.
    """
    if not can_draw():
        raise PrerequisiteError("plots need matplotlib, which is not installed; pip install '.[viz]'")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, picture in rendered(chart, formats).items():
        written.append(folder / f"{chart.name}.{kind}")
        write_atomic(written[-1], picture)
    return written


def rendered(chart: Chart, formats: Sequence[str]) -> dict[str, bytes]:
    """The bytes of each format, drawn by matplotlib."""
    import io

    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.size": 9,
        "svg.fonttype": "path",  # the same picture whatever fonts the reader has
        "svg.hashsalt": "colasearch",
        "text.parse_math": False,  # a name with two dollars is a name
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    pictures = {}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, chart.drawable())
        for kind in formats:
            buffer = io.BytesIO()
            metadata = {"Date": None} if kind in ("svg", "pdf") else None
            figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
            pictures[kind] = buffer.getvalue()
    return pictures


def _fill(figure: Any, chart: Chart) -> None:
    from matplotlib.transforms import ScaledTranslation

    axes = figure.add_subplot()
    scale = 100.0 if chart.percent else 1.0
    for number, series in enumerate(chart.series):
        # Bars of arms at one place stand side by side, 3 points apart.
        points = 3 * (number - (len(chart.series) - 1) / 2)
        beside = ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)
        color = PALETTE[series.color % len(PALETTE)]
        y = [scale * value for value in series.y]
        if series.low is not None and series.high is not None:
            low, high = ([scale * value for value in band] for band in (series.low, series.high))
            below, above = ([abs(a - b) for a, b in zip(y, ends, strict=True)] for ends in (low, high))
            bars = axes.errorbar(series.x, y, yerr=(below, above), fmt="none", ecolor=color, elinewidth=1, alpha=0.7)
            for part in bars.lines[2]:
                part.set_transform(part.get_transform() + beside)
        (drawn,) = axes.plot(
            series.x,
            y,
            color=color,
            linewidth=1.6,
            linestyle="--" if series.dashed else "-",
            marker=MARKERS[series.color % len(MARKERS)],
            markersize=5,
            markerfacecolor="white" if series.dashed else color,
            label=series.name,
        )
        drawn.set_transform(drawn.get_transform() + beside)
    if chart.log_x:
        axes.set_xscale("log", base=2)
        ticks = sorted({x for series in chart.series for x in series.x})
        if len(ticks) <= 10 and all(x == int(x) for x in ticks):
            axes.set_xticks(ticks, labels=[f"{int(x):,}" for x in ticks], minor=False)
        else:
            axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
    elif all(x == int(x) for series in chart.series for x in series.x):
        axes.xaxis.get_major_locator().set_params(integer=True)
    if chart.percent:
        low, high = axes.get_ylim()
        axes.set_ylim(max(0.0, low), min(100.0, high) if high > 0 else 1.0)
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:.0f}%")
    axes.grid(axis="y", color="#000000", alpha=0.08, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(chart.title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if chart.series:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
