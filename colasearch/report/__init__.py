"""Reports of a run folder: ``report.md``, plots, and one self-contained ``report.html`` with a tree viewer.

To add a column or a figure: ``page_data.py`` says what the page is given, ``page/*.js`` how it looks; ``markdown.py``
is the same for the terminal and for code hosts; ``curves.py`` turns a summary into charts, ``charts.py`` draws them.
"""

from __future__ import annotations

from colasearch.report.charts import Chart, Series, draw
from colasearch.report.write import (
    Report,
    is_current,
    view_searches,
    view_solved,
    view_trace,
    write_html,
    write_report,
)

__all__ = [
    "Chart",
    "Report",
    "Series",
    "draw",
    "is_current",
    "view_searches",
    "view_solved",
    "view_trace",
    "write_html",
    "write_report",
]
