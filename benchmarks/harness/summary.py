"""``summary.json`` of a benchmark run, computed from its records alone.

::

    {"schema": 1, "benchmark", "n", "model", "sims", "seed",           # n: problems of the run; sims: the largest
     "arms": {ARM: {"selected": {"correct", "accuracy", "ci95": [lo, hi]},
                    "oracle": {"correct", "accuracy", "ci95"},
                    "generated_tokens", "model_calls", "seconds", "errors",
                    "n",               # problems that the arm is done with; less than n only in an interrupted run
                    "texts",           # finished texts
                    "cut",             # texts that reached max_tokens; they have no answer
                    "cut_unanswered",  # problems without an answer of which a text was cut: not known to be wrong
                    "sims_done",       # simulations done (baselines: texts drawn)
                    "token_budget",    # tokens given, summed; null for an arm without a budget
                    "pass_at_k": {"1": 0.31, "2": 0.42, ...} or null,
                    "by": {"subject": {NAME: {"n", "correct", "accuracy", "ci95", "oracle_correct"}}, "level": {...}}}},
     "searcher",                       # the arm whose tokens are the budget of the others
     "comparisons": [{"first", "second", "n", "difference", "ci95", "p_value", "separate", "only_first",
                      "only_second", "token_ratio"}],  # p_value: exact McNemar; token_ratio: second's over first's
     "verdict": "...",                 # one paragraph: did the search beat its baselines at equal tokens?
     "curve": [{"sims": 4, "arms": {...}, "comparisons": [...]}, ...],  # one entry for each of --sims, smallest first
     "max_tokens",                     # the limit of a text's length
     "complete": true,                 # false for an interrupted run
     "data": {...}}                    # where the problems came from, and their SHA-256

``arms`` and ``comparisons`` at the top are those of the largest number of simulations. A problem that errored counts as
not solved; ``seconds`` is wall time. ``pass_at_k`` is given for arms whose texts are independent draws
(``benchmarks.names.CHOOSERS``), for k up to the fewest texts drawn for any problem; texts that were cut off count as
wrong. ``seconds`` is the one field that may differ between runs with the same settings.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from colasearch.benchmarks.harness.intervals import LEAST_DISCORDANT, paired_bootstrap, pass_at_k, wilson
from colasearch.benchmarks.names import BASELINES, CHOOSERS

SCHEMA = 1
GREEDY_SIMS = 0
"""``sims`` of greedy's records: one text, whatever the search is given."""
Record = Mapping[str, Any]


def proportion(correct: int, total: int) -> dict[str, Any]:
    """``correct``, ``accuracy`` and its Wilson interval."""
    low, high = wilson(correct, total)
    return {
        "correct": correct,
        "accuracy": round(correct / total, 6) if total else 0.0,
        "ci95": [round(low, 6), round(high, 6)],
    }


def is_right(record: Record, field: str = "correct") -> bool:
    """Whether a record counts as solved; an errored one does not."""
    return record["status"] == "ok" and bool(record[field])


def arm_summary(records: Sequence[Record], arm: str, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Summary of one arm's records at one number of simulations."""
    fine = [r for r in records if r["status"] == "ok"]
    budgets = [r["token_budget"] for r in fine if r["token_budget"] is not None]
    return {
        "selected": proportion(sum(is_right(r) for r in records), len(records)),
        "oracle": proportion(sum(is_right(r, "oracle") for r in records), len(records)),
        "generated_tokens": sum(r["generated_tokens"] for r in fine),
        "model_calls": sum(r["model_calls"] for r in fine),
        "seconds": round(sum(r["wall_seconds"] for r in records), 3),
        "errors": len(records) - len(fine),
        "n": len(records),
        "texts": sum(r["texts"] for r in fine),
        "cut": sum(r.get("cut", 0) for r in fine),
        "cut_unanswered": sum(r["answer"] is None and r.get("cut", 0) > 0 for r in fine),
        "sims_done": sum(r["sims_done"] for r in fine),
        "token_budget": sum(budgets) if budgets else None,
        "pass_at_k": _passes(fine) if arm in CHOOSERS else None,
        "by": {field: _by(records, field, names) for field, names in groups.items()},
    }


def _passes(fine: Sequence[Record]) -> dict[str, float] | None:
    fewest = min((r["sims_done"] for r in fine), default=0)
    if not fewest:
        return None
    ks = [2**i for i in range(fewest.bit_length()) if 2**i <= fewest]
    return {
        str(k): round(sum(pass_at_k(r["sims_done"], r["texts_correct"], k) for r in fine) / len(fine), 6) for k in ks
    }


def _by(records: Sequence[Record], field: str, names: Sequence[str]) -> dict[str, Any]:
    result = {}
    for name in names:
        part = [r for r in records if r[field] == name]
        counted = proportion(sum(is_right(r) for r in part), len(part))
        result[name] = {"n": len(part), **counted, "oracle_correct": sum(is_right(r, "oracle") for r in part)}
    return result


def compare_arms(first: Sequence[Record], second: Sequence[Record], seed: int) -> dict[str, Any]:
    """Paired comparison of two arms, over the problems that both solved or failed without an error."""
    other = {r["problem_id"]: r for r in second if r["status"] == "ok"}
    pairs = [(r, other[r["problem_id"]]) for r in first if r["status"] == "ok" and r["problem_id"] in other]
    paired = paired_bootstrap([is_right(a) for a, _ in pairs], [is_right(b) for _, b in pairs], seed)
    mine, theirs = (sum(r["generated_tokens"] for r in side) for side in zip(*pairs, strict=True)) if pairs else (0, 0)
    return {
        "n": paired.n,
        "difference": round(paired.difference, 6),
        "ci95": [round(paired.low, 6), round(paired.high, 6)],
        "p_value": round(paired.p_value, 6),
        "separate": paired.separate,
        "only_first": paired.only_first,
        "only_second": paired.only_second,
        "token_ratio": round(theirs / mine, 4) if mine else None,
    }


def by_sims(
    records: Iterable[Record],
    ids: Sequence[str],
    arms: Sequence[str],
    sims: Sequence[int],
    searcher: str,
    *,
    once: Mapping[str, int],
    arm_of: Callable[[list[Record], str], dict[str, Any]],
    compare: Callable[[list[Record], list[Record]], dict[str, Any]],
    apart: Container[str] = (),
) -> dict[str, Any]:
    """``curve``, of it the largest number of simulations, and whether all is done: what any summary has.

    Args:
        records: As in :func:`build`, and so the next four.
        ids: Problems, or episodes.
        arms: Their names.
        sims: Numbers of simulations.
        searcher: The arm that the others are compared with.
        once: ``sims`` in the records of arms that no number of simulations changes.
        arm_of: An arm's part, of its records and its name.
        compare: A comparison of two arms' records.
        apart: Arms that are not compared.
    """
    found = {(r["arm"], r["sims"], r["problem_id"]): r for r in records}
    curve: list[dict[str, Any]] = []
    for count in sims:
        keys = {arm: once.get(arm, count) for arm in arms}
        rows = {arm: [found[arm, key, i] for i in ids if (arm, key, i) in found] for arm, key in keys.items()}
        others = [arm for arm in arms if arm != searcher and arm not in apart and searcher in rows]
        curve.append(
            {
                "sims": count,
                "arms": {arm: arm_of(rows[arm], arm) for arm in arms},
                "comparisons": [
                    {"first": searcher, "second": arm, **compare(rows[searcher], rows[arm])} for arm in others
                ],
            }
        )
    complete = all(part["n"] == len(ids) for point in curve for part in point["arms"].values())
    return {**curve[-1], "curve": curve, "complete": complete}


def build(
    records: Iterable[Record],
    *,
    benchmark: str,
    model: str,
    seed: int,
    searcher: str,
    arms: Sequence[str],
    sims: Sequence[int],
    ids: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    data: Mapping[str, Any],
    max_tokens: int | None = None,
) -> dict[str, Any]:
    """The summary of a run.

    Args:
        records: All records.
        benchmark: Its name.
        model: Its name.
        seed: Run seed; also of the bootstrap.
        searcher: The arm that sets the budget.
        arms: In the order in which they are shown.
        sims: Numbers of simulations, ascending.
        ids: Problems of the run, in order; records are taken in this order, whatever order they were written in.
        groups: Subjects and levels.
        data: As ``DataSet.to_json`` gives it.
        max_tokens: Longest text; None where that is not known.
    """
    parts = by_sims(
        records, ids, arms, sims, searcher,
        once={"greedy": GREEDY_SIMS},
        arm_of=lambda rows, arm: arm_summary(rows, arm, groups),
        compare=lambda first, second: compare_arms(first, second, seed),
    )  # fmt: skip
    return {
        **parts,
        "schema": SCHEMA,
        "benchmark": benchmark,
        "n": len(ids),
        "model": model,
        "seed": seed,
        "searcher": searcher,
        "verdict": verdict(searcher, parts["arms"], parts["comparisons"]),
        "max_tokens": max_tokens,
        "data": dict(data),
    }


def verdict(searcher: str, arms: Mapping[str, Any], comparisons: Sequence[Mapping[str, Any]]) -> str:
    """In plain words: whether the search beat majority vote and best-of-N at equal tokens.

    Only a difference that :class:`Paired` calls separate counts, and only against a baseline that did not have fewer
    tokens (for a win) or more (for a loss). Without both baselines there is no verdict.
    """
    if searcher in BASELINES:
        return f"The chosen searcher is the baseline {searcher} itself; no search was compared."
    against = {c["second"]: c for c in comparisons if c["second"] in CONTROLS and c["n"]}
    missing = [_spoken(arm) for arm in CONTROLS if arm not in against]
    if len(missing) == len(CONTROLS):
        return "Neither majority vote nor best-of-N was run; whether the search is worth its tokens is not known."
    sentences = " ".join(_sentence(searcher, c) for c in against.values())
    start = f"{searcher} solves {100 * arms[searcher]['selected']['accuracy']:.1f}%. {sentences}"
    if missing:
        return f"{start} {missing[0]} was not run, so whether the search is worth its tokens is not known."
    signs = [_sign(c) for c in against.values()]
    n = min(c["n"] for c in against.values())
    if -1 in signs:
        return f"{start} So at equal tokens the search is not worth running here."
    if all(sign == 1 for sign in signs):
        return f"{start} So at equal tokens the search is worth running here."
    return f"{start} So with {n} problems it is not shown that the search is worth running."


def cut_said(summary: Mapping[str, Any]) -> list[str]:
    """A sentence for each arm of which texts were cut, with the flag to raise; older summaries do not say."""
    limit = summary.get("max_tokens")
    said = []
    for name, arm in summary["arms"].items():
        cut = arm.get("cut", 0)
        if not cut:
            continue
        at = f" at {limit:,} tokens" if limit else ""
        unanswered = arm.get("cut_unanswered", 0)
        lost = f"; {unanswered} of {arm['n']} problems have no answer for that" if unanswered else ""
        were = "text was" if cut == 1 else "texts were"
        said.append(f"{_spoken(name)}: {cut} {were} cut{at} and {arm['texts']} came to an end{lost}")
    return [*said, "Cut texts count as no answer: raise --max-tokens."] if said else []


CONTROLS = ("majority", "best_of_n")
"""What a search must beat at equal tokens."""
TOKEN_SLACK = 0.1
"""Tokens count as equal within this share: a baseline cannot stop in the middle of a text that its vote needs."""


def _sign(c: Mapping[str, Any]) -> int:
    """1 where the search is shown to be better than a baseline at equal tokens, -1 where worse, else 0."""
    ratio = c["token_ratio"] or 0.0
    if not c["separate"]:
        return 0
    if c["difference"] > 0:
        return int(ratio >= 1 - TOKEN_SLACK)
    return -int(ratio <= 1 + TOKEN_SLACK)


def _sentence(searcher: str, c: Mapping[str, Any]) -> str:
    """One comparison as a sentence: who is ahead, how sure that is, and who had how many tokens."""
    other, points, (low, high) = _spoken(c["second"]), 100 * c["difference"], (100 * bound for bound in c["ci95"])
    alone = f"{searcher} alone solves {c['only_first']} of {c['n']} problems, {other} alone {c['only_second']}"
    discordant = c["only_first"] + c["only_second"]
    if not discordant:
        sure = "no problem tells them apart"
    elif discordant < LEAST_DISCORDANT:
        sure = f"{alone}: too few to tell, it takes {LEAST_DISCORDANT}"
    else:
        sure = f"{alone}; exact p = {c['p_value']:.2g}, paired bootstrap {low:+.1f} to {high:+.1f}"
    words = ("beats", "loses to") if c["separate"] else ("is ahead of", "is behind")
    lead = f"{words[points < 0]} {other} by {abs(points):.1f} points" if points else f"ties with {other}"
    ratio = c["token_ratio"]
    tokens = f" {other} generated {ratio:.2f} times as many tokens as {searcher}." if ratio is not None else ""
    return f"{searcher} {lead} ({sure}).{tokens[:1]}{tokens[1:2].upper()}{tokens[2:]}"


def _spoken(arm: str) -> str:
    return {"majority": "majority vote", "best_of_n": "best-of-N", "weighted_vote": "weighted vote"}.get(arm, arm)
