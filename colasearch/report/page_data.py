"""What the web page is given: the run, its problems, and as many traces as fit.

Records' texts and traces are payloads of their own, gzipped, which the page unpacks when a problem is opened. Traces
are put in until ``max_bytes`` is reached, most wanted first: those of the search at its largest number of simulations,
then the other arms there, then smaller numbers of simulations; each in the order of the problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from colasearch.report.curves import charts_of, colors_of, spoken
from colasearch.report.embed import packed
from colasearch.report.markdown import facts
from colasearch.report.run_data import Run, trace_file
from colasearch.report.tree_data import read_trace, tree_of
from colasearch.storage.traces import Trace

MAX_TRACE_BYTES = 24 << 20
"""Most bytes of traces in a report, unless all are asked for: a browser opens such a page in about a second."""
SNIPPET = 240
"""Characters of a problem's text that the list of problems can be searched for."""


@dataclass(frozen=True, slots=True)
class Page:
    """Content of a page.

    Attributes:
        title: Of the document.
        data: Read by the page at the start.
        payloads: Element id and packed value.
        traces: Traces put in.
        left_out: Traces that did not fit.
    """

    title: str
    data: dict[str, Any]
    payloads: list[tuple[str, str]]
    traces: int
    left_out: int


def trace_page(trace: Trace, name: str) -> Page:
    """The page of one trace; ``name`` is what the user calls it."""
    return traces_page([trace], name)


def traces_page(traces: Sequence[Trace], name: str) -> Page:
    """The page of searches of one searcher, one problem after the other; no gold answers are known."""
    unit = f"{traces[0].searcher}-{traces[0].sims}" if len(traces) == 1 else traces[0].searcher
    problems: list[dict[str, Any]] = []
    payloads: list[tuple[str, str]] = []
    for number, trace in enumerate(traces):
        problems.append(
            {"id": trace.problem_id, "text": trace.text[:SNIPPET], "units": {unit: _searched(trace, number)}}
        )
        payloads.append((f"t{number}", packed(tree_of(trace))))
        payloads.append((f"d{number}", packed({"text": trace.text, "units": {}})))
    first = traces[0]
    data = {
        "kind": "trace",
        "title": name,
        "units": [{"key": unit, "arm": first.searcher, "name": spoken(first.searcher), "sims": first.sims, "color": 0}],
        "problems": problems,
        "notes": [],
    }
    title = f"{first.problem_id}: {first.searcher}" if len(traces) == 1 else f"{name}: {first.searcher}"
    return Page(title, data, payloads, traces=len(traces), left_out=0)


def searches_page(traces: Sequence[Trace], names: Sequence[str]) -> Page:
    """The page of several searches of one problem, two of them side by side; ``names`` are those of their files."""
    units: list[dict[str, Any]] = []
    outcomes: dict[str, Any] = {}
    for number, (trace, name) in enumerate(zip(traces, names, strict=True)):
        key = f"{number + 1}-{trace.searcher}-{trace.sims}"
        units.append(
            {"key": key, "arm": key, "name": f"{spoken(trace.searcher)} ({name})", "sims": 0, "color": number % 7}
        )
        outcomes[key] = _searched(trace, number)
    first = traces[0]
    data = {
        "kind": "trace",
        "title": first.problem_id,
        "units": units,
        "problems": [{"id": first.problem_id, "text": first.text[:SNIPPET], "units": outcomes}],
        "notes": [],
    }
    payloads = [(f"t{number}", packed(tree_of(trace))) for number, trace in enumerate(traces)]
    payloads.append(("d0", packed({"text": first.text, "units": {}})))
    return Page(f"{first.problem_id}: {len(traces)} searches", data, payloads, traces=len(traces), left_out=0)


def _searched(trace: Trace, payload: int) -> dict[str, Any]:
    """What is known of a search from its trace alone."""
    return {
        "status": "ok",
        "answer": trace.answer,
        "tokens": trace.generated_tokens,
        "calls": trace.model_calls,
        "sims_done": trace.sims,
        "stop": trace.stop,
        "trace": payload,
    }


def run_page(run: Run, *, max_bytes: int | None = MAX_TRACE_BYTES, notes: Sequence[str] = ()) -> Page:
    """The page of a run; ``max_bytes=None`` puts in all traces.

    Raises:
        CorruptFileError: A trace is damaged, or is not where traces are.
    """
    summary = run.summary
    ids = list(dict.fromkeys(str(r["problem_id"]) for r in run.records))
    place = {name: number for number, name in enumerate(ids)}
    colors = colors_of(summary["arms"])
    packer = _Traces(run, max_bytes)
    wanted = sorted(run.records, key=lambda r: (*_rank(r, summary), place[str(r["problem_id"])]))
    kept = {id(record): packer.add(record) for record in wanted}
    # Records have had the wording since traces could be left out; older ones have it in their traces alone.
    texts = packer.problem_texts | {str(r["problem_id"]): r["problem"] for r in run.records if r.get("problem")}
    problems = [_listed(name, texts.get(name)) for name in ids]
    details: list[dict[str, Any]] = [{"text": texts.get(name), "units": {}} for name in ids]
    units: dict[str, dict[str, Any]] = {}
    for record in run.records:
        arm, key = record["arm"], f"{record['arm']}-{record['sims']}"
        units.setdefault(
            key, {"key": key, "arm": arm, "name": spoken(arm), "sims": record["sims"], "color": colors.get(arm, 7)}
        )
        number = place[str(record["problem_id"])]
        for field in ("subject", "level", "gold"):
            if record.get(field) is not None:
                problems[number][field] = record[field]
        problems[number]["units"][key] = _outcome(record, kept[id(record)])
        details[number]["units"][key] = {f: record.get(f) for f in ("text", "candidates", "error")}
    order = list(summary["arms"])
    data = {
        "kind": "run",
        "title": summary["benchmark"],
        "summary": {key: value for key, value in summary.items() if key not in ("arms", "comparisons")},
        "arm_names": {arm: spoken(arm) for arm in summary["arms"]},
        "colors": colors,
        "charts": [chart.to_json() for chart in charts_of(summary)],
        "units": sorted(units.values(), key=lambda u: (order.index(u["arm"]) if u["arm"] in order else 99, u["sims"])),
        "problems": problems,
        "facts": facts(run),
        "notes": [*notes, *packer.notes(), *(summary.get("data") or {}).get("remarks", [])],
        "running": run.running,
        "created": run.manifest.get("created"),
        "version": (run.manifest.get("versions") or {}).get("colasearch"),
    }
    payloads = packer.payloads + [(f"d{number}", packed(detail)) for number, detail in enumerate(details)]
    title = f"{summary['benchmark']}: {spoken(summary['searcher'])}, {summary['model']}"
    return Page(title, data, payloads, len(packer.payloads), packer.left_out)


def _rank(record: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """How early a record's trace is put in: smaller is earlier."""
    largest = record["sims"] in (summary["sims"], 0)
    return (not largest, record["arm"] != summary["searcher"], -int(record["sims"]))


def _listed(name: str, text: str | None) -> dict[str, Any]:
    return {"id": name, "text": (text or "")[:SNIPPET], "units": {}}


def _outcome(record: Mapping[str, Any], trace: int | str) -> dict[str, Any]:
    """What the list of problems shows of a record; ``trace`` is the payload's number, or why there is none."""
    if record["status"] != "ok":
        return {"status": "error", "trace": trace}
    return {
        "status": "ok",
        "correct": record["correct"],
        "oracle": record["oracle"],
        "answer": record["answer"],
        "texts": record["texts"],
        "texts_correct": record["texts_correct"],
        "tokens": record["generated_tokens"],
        "token_budget": record["token_budget"],
        "calls": record["model_calls"],
        "seconds": record["seconds"],
        "sims_done": record["sims_done"],
        "branching": record["effective_branching"],
        "stop": record["stop"],
        "trace": trace,
    }


class _Traces:
    """Packs traces until the limit is reached.

    Attributes:
        payloads: Packed traces.
        problem_texts: Wording of each problem of which a trace was read.
        left_out: Traces that did not fit.
    """

    def __init__(self, run: Run, max_bytes: int | None) -> None:
        self.run, self.max_bytes = run, max_bytes
        self.payloads: list[tuple[str, str]] = []
        self.problem_texts: dict[str, str] = {}
        self.left_out = self.gone = self.bytes = 0

    def add(self, record: Mapping[str, Any]) -> int | str:
        """Number of the trace's payload, or why there is none: ``none``, ``gone`` or ``left out``."""
        path = trace_file(self.run, record)
        if path is None:
            self.gone += bool(record.get("trace"))
            return "gone" if record.get("trace") else "none"
        name = str(record["problem_id"])
        full = self.max_bytes is not None and self.bytes >= self.max_bytes
        if full and name in self.problem_texts:
            self.left_out += 1
            return "left out"
        trace = read_trace(path)
        self.problem_texts.setdefault(name, trace.text)
        value = "" if full else packed(tree_of(trace))
        if full or (self.max_bytes is not None and self.bytes + len(value) > self.max_bytes):
            self.left_out += 1
            return "left out"
        self.bytes += len(value)
        self.payloads.append((f"t{len(self.payloads)}", value))
        return len(self.payloads) - 1

    def notes(self) -> list[str]:
        """What a reader should know about traces that are not here."""
        found = []
        if self.left_out:
            total = len(self.payloads) + self.left_out
            found.append(
                f"{self.left_out:,} of {total:,} traces are left out to keep this file small "
                f"({len(self.payloads):,} are in it, {self.bytes / 2**20:.1f} MiB); "
                "`colasearch view RUN --all-traces` puts in all of them, `colasearch view TRACE.json.gz` shows one."
            )
        if self.gone:
            found.append(f"{self.gone:,} trace files that the run recorded are no longer in its folder.")
        return found
