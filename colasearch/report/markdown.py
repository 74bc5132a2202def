"""``report.md``: the comparison, the curve, the parts, where arms disagree, and what was run."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.printable import visible
from colasearch.report.curves import mean_tokens, spoken
from colasearch.report.run_data import Run

_MARKUP = re.compile(r"[\\`*\[\]|~$^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+=-]|^\d+(?=[.)])|://")
"""What Markdown would read as markup; an underscore within a word and a dash within a line are none."""
MAX_SHOWN = 20
"""Problems that a list in report.md names; report.html has all."""


def literal(text: object, longest: int = 200) -> str:
    """``text`` so that Markdown and HTML show it as it is, in one line; cut after ``longest`` characters."""
    line = " ".join(visible(str(text)).encode("utf-8", "replace").decode().split())
    line = line if len(line) <= longest else line[: longest - 1] + "…"
    return _MARKUP.sub(_escaped, html.escape(line, quote=False))


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    if text == "://":  # or a bare address would become a link
        return ":&#47;&#47;"
    return f"&#{ord(text[0])};{text[1:]}" if text[0].isdigit() else f"\\{text}"


def percent(part: Mapping[str, Any]) -> str:
    """``45.0 [30.7, 60.2]`` in percent."""
    low, high = part["ci95"]
    return f"{100 * part['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """A Markdown table; the first column to the left, the others to the right if they are ``numbers``."""
    rule = " ---: |" if numbers else " --- |"
    lines = ["| " + " | ".join(header) + " |", "| --- |" + rule * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


PROBLEMS_SAID = (
    "Solved: the answer that the arm selected, without sight of the gold one. Oracle: any of its finished texts is "
    "right, as the gold answer tells; it is a bound on what better selection could reach, not a result. Intervals "
    "are Wilson's 95%. Texts, tokens, calls and seconds are means a problem; a problem that errored counts as not "
    "solved. Cut: texts in all that reached the limit of their length, and so have no answer."
)
EPISODES_SAID = (
    "Score: mean sum of rewards, with its bootstrap 95% interval. Solved: the episode that the arm played in the end. "
    "Oracle: any episode that it followed to its end. Intervals of shares are Wilson's 95%. New steps: actions in the "
    "environment; replayed: those that only came back to a state; best-of-N has as many new steps as the search, or as "
    "many tokens. Texts are episodes followed to their ends; all but cut are means an episode; one that errored counts "
    "as not solved."
)


def _is_episodes(summary: Mapping[str, Any]) -> bool:
    """Whether a run played episodes of an environment."""
    return summary.get("kind") == "episodes"


def _scores(summary: Mapping[str, Any]) -> str:
    """Scores and steps of the arms of a run over episodes."""
    rows = []
    for name, arm in summary["arms"].items():
        fine, score = max(1, arm["n"] - arm["errors"]), arm["score"]
        interval = "" if score["mean"] is None else "{:.3f} [{:.3f}, {:.3f}]".format(score["mean"], *score["ci95"])
        steps = (arm[key] / fine for key in ("steps", "environment_steps", "replayed_steps"))
        rows.append([literal(spoken(name)), interval, *(f"{number:.1f}" for number in steps), str(arm["cut_actions"])])
    return table(["arm", "score", "actions", "new steps", "replayed", "cut actions"], rows)


def report_md(run: Run, plots: Sequence[Path], notes: Sequence[str] = ()) -> str:
    """The text of ``report.md``.

    Args:
        run: The run.
        plots: PNG files, inside the run folder.
        notes: Sentences about the report itself (matplotlib is absent, ...).
    """
    from colasearch.benchmarks.harness.summary import cut_said  # brings numpy, and the page of a run needs none

    summary = run.summary
    what = "episodes" if _is_episodes(summary) else "problems"
    state = "" if summary.get("complete", True) else " **This run is not complete.**"
    parts = [
        f"# {literal(summary['benchmark'])}: {literal(spoken(summary['searcher']))} at {summary['sims']:,} simulations",
        f"{summary['n']:,} {what}, model {literal(summary['model'])}, seed {summary['seed']}.{state}",
        literal(summary["verdict"], 2000),
        "## Arms",
        _arms(summary),
        EPISODES_SAID if _is_episodes(summary) else PROBLEMS_SAID,
    ]
    if _is_episodes(summary):
        parts.append(_scores(summary))
    if cut := cut_said(summary):
        parts.append("\n".join(f"- {literal(sentence)}" for sentence in cut))
    if summary["comparisons"]:
        parts += ["## Paired differences", _comparisons(summary)]
    parts += [f"![{literal(path.stem)}]({path.relative_to(run.folder).as_posix()})" for path in plots]
    if len(summary["curve"]) > 1:
        parts += ["## By simulations", _curve(summary)]
    for field in ("subject", "level"):
        if any(arm.get("by", {}).get(field) for arm in summary["arms"].values()):
            parts += [f"## By {field}", _by(summary, field)]
    parts += _alone(run)
    parts += _errors(run)
    parts += ["## What was run", _provenance(run)]
    remarks = [*notes, *(summary.get("data") or {}).get("remarks", [])]
    if remarks:
        parts += ["## Notes", "\n".join(f"- {literal(remark, 500)}" for remark in remarks)]
    return "\n\n".join(parts) + "\n"


def _arms(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, arm in summary["arms"].items():
        fine = max(1, arm["n"] - arm["errors"])
        rows.append(
            [
                f"**{literal(spoken(name))}**" if name == summary["searcher"] else literal(spoken(name)),
                percent(arm["selected"]),
                percent(arm["oracle"]),
                f"{arm['texts'] / fine:.1f}",
                str(arm.get("cut", "")),
                f"{mean_tokens(arm):,.0f}",
                f"{arm['model_calls'] / fine:,.0f}",
                f"{arm['seconds'] / max(1, arm['n']):.2f}",
                str(arm["errors"]),
            ]
        )
    return table(["arm", "solved %", "oracle %", "texts", "cut", "tokens", "calls", "seconds", "errors"], rows)


def _comparisons(summary: Mapping[str, Any]) -> str:
    rows = []
    for c in summary["comparisons"]:
        low, high = c["ci95"]
        rows.append(
            [
                f"{literal(spoken(c['first']))} minus {literal(spoken(c['second']))}",
                f"{100 * c['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                f"{c['only_first']} : {c['only_second']}",
                exact_p(c),
                "yes" if c["separate"] else "no",
                "one text" if c["second"] == "greedy" else _ratio(c["token_ratio"]),
            ]
        )
    header = [
        "paired, in points",
        "difference",
        "95% bootstrap",
        "alone right",
        "exact p",
        "shown",
        "second's tokens / first's",
    ]
    return table(header, rows)


def exact_p(c: Mapping[str, Any]) -> str:
    """McNemar's p of a comparison, two digits; worked out from the counts, which older summaries have, too."""
    from colasearch.benchmarks.harness.intervals import mcnemar  # brings numpy, and the page of a run needs none

    return f"{mcnemar(int(c['only_first']), int(c['only_second'])):.2g}"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}×"


def _curve(summary: Mapping[str, Any]) -> str:
    names = list(summary["arms"])
    rows = []
    for point in summary["curve"]:
        searched = point["arms"][summary["searcher"]]
        cells = [percent(point["arms"][name]["selected"]) for name in names]
        rows.append([f"{point['sims']:,}", f"{mean_tokens(searched):,.0f}", *cells, percent(searched["oracle"])])
    heads = [f"{literal(spoken(name))} solved %" for name in names]
    return table(["simulations", "tokens", *heads, f"{literal(summary['searcher'])} oracle %"], rows)


def _by(summary: Mapping[str, Any], field: str) -> str:
    arms = summary["arms"]
    rows = []
    for part, first in next(iter(arms.values()))["by"][field].items():
        rows.append([literal(part), str(first["n"]), *(percent(arm["by"][field][part]) for arm in arms.values())])
    return table([field, "problems", *(f"{literal(spoken(name))} %" for name in arms)], rows)


def _alone(run: Run) -> list[str]:
    """Problems that the search alone solves, and those that only a baseline of equal tokens solves."""
    searcher, sims = run.summary["searcher"], run.summary["sims"]
    right: dict[str, set[str]] = {}
    for record in run.records:
        if record["sims"] == sims and record["status"] == "ok" and record["correct"]:
            right.setdefault(record["arm"], set()).add(record["problem_id"])
    rivals = [arm for arm in ("majority", "best_of_n") if arm in run.summary["arms"] and arm != searcher]
    if not rivals:
        return []
    mine = right.get(searcher, set())
    theirs = set.union(*(right.get(arm, set()) for arm in rivals))
    names = " and ".join(spoken(arm) for arm in rivals)
    parts = ["## Where they disagree"]
    for text, ids in (
        (f"{searcher} right, {names} wrong", mine - theirs),
        (f"{searcher} wrong, {names.replace(' and ', ' or ')} right", theirs - mine),
    ):
        listed = ", ".join(literal(name, 80) for name in sorted(ids)[:MAX_SHOWN])
        more = f", and {len(ids) - MAX_SHOWN} more" if len(ids) > MAX_SHOWN else ""
        parts.append(f"{literal(text)} ({len(ids)}): {listed or 'none'}{more}.")
    return parts


def _errors(run: Run) -> list[str]:
    failed = [record for record in run.records if record["status"] != "ok"]
    if not failed:
        return []
    rows = []
    for record in failed[:MAX_SHOWN]:
        error = record.get("error") or {}
        rows.append([literal(record["problem_id"], 80), literal(record["arm"]), literal(error.get("message", ""), 300)])
    more = f"\n\nAnd {len(failed) - MAX_SHOWN} more." if len(failed) > MAX_SHOWN else ""
    return ["## Errors", table(["problem", "arm", "error"], rows, numbers=False) + more]


def facts(run: Run) -> list[tuple[str, str]]:
    """What was run, as pairs of a name and a value."""
    manifest = run.manifest
    settings = manifest.get("settings") or {}
    versions = manifest.get("versions") or {}
    data = run.summary.get("data") or {}
    pairs = [
        ("begun", manifest.get("created")),
        ("command", " ".join(str(part) for part in manifest.get("argv") or [])),
        ("settings", ", ".join(f"{k} {_short(v)}" for k, v in settings.items() if not isinstance(v, Mapping))),
        ("data", ", ".join(f"{k} {_short(v)}" for k, v in data.items() if k != "remarks")),
        ("commit", manifest.get("git")),
        ("versions", ", ".join(f"{k} {v}" for k, v in versions.items())),
        ("machine", ", ".join(f"{k} {v}" for k, v in (manifest.get("machine") or {}).items())),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def _short(value: object) -> str:
    return " ".join(str(part) for part in value) if isinstance(value, list) else str(value)


def _provenance(run: Run) -> str:
    return table(["what", "value"], [[literal(name), literal(value, 1000)] for name, value in facts(run)], False)
