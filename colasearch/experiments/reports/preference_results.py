"""Numbers of the preference experiment, from its stages' metrics alone.

``summary.json``::

    {"schema": 1, "experiment": "preference", "size", "model",
     "proxies": {GOLD: {"pairs", "accuracy", "ci95", "ece"}},        # the proxy on held-out pairs
     "runs": [{"gold", "on", "beta", "seed", "trained_parameters",
               "curve": {"step", "kl", "proxy", "gold", "length", "variety", "difference"}}],
     "arms": [{"gold", "on", "beta", "seeds", "curve": {...},        # means over seeds, round by round, smoothed
               "start", "end": {MEASURE: mean}, "gain": {"proxy", "gold"}, "hacked", "ci95", "fallen"}],
     "contrasts": [{"gold", "beta", "tokens_less_codes", "ci95", "seeds", "shown"}],
     "at_equal_kl": [{"gold", "beta", "kl", "codes", "tokens"}]}

*hacked* is how much more the proxy rose than the gold score, both in units of their spread at the start, so that they
can be subtracted. *fallen* is the gold score's highest smoothed value less its last. Intervals are Student's, over
seeds; of one seed there is none. KL is what RL logs: nats a text between the policy and its start, over codes or over
tokens. Different codes may write the same token, so KL over codes is at least that of the tokens they write.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colasearch.experiments.recipes.preference import GOLD, LEVELS, MEASURES, Preference, proxy_spec, run_name
from colasearch.storage.files import read_json

MEASURED = ("kl", "proxy", "gold", "length", *MEASURES)
T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""97.5% quantile of Student's distribution, by degrees of freedom; 1.96 beyond."""
SMOOTH = 5
"""Rounds in a running mean; at most a third of all."""
KL_POINTS = 4


def read_run(folder: Path, names: Mapping[str, str]) -> dict[str, list[float]]:
    """The curve of one run of RL: ``step`` and what ``names`` names, by the names in its metrics."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rounds = [row for row in rows if "kl" in row]
    return {
        "step": [float(row["step"]) for row in rounds],
        **{ours: [float(row[theirs]) for row in rounds] for ours, theirs in names.items()},
    }


def student(values: Sequence[float]) -> tuple[float, list[float] | None]:
    """Mean, and its 95% interval; None for one value."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None
    half = T975.get(n - 1, 1.96) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, [mean - half, mean + half]


def smooth(values: Sequence[float]) -> list[float]:
    """Running mean over ``SMOOTH`` rounds, shorter at both ends."""
    window = max(1, min(SMOOTH, len(values) // 3))
    before, after = (window - 1) // 2, window // 2
    return [float(np.mean(values[max(0, i - before) : i + after + 1])) for i in range(len(values))]


def summarise(
    how: Preference, size: str, folders: Mapping[str, Path], records: Mapping[str, Mapping[str, Any]], root: Path
) -> dict[str, Any]:
    """The summary of a finished experiment."""
    runs, arms, contrasts, equal = [], [], [], []
    for gold in how.golds:
        proxy = proxy_spec(folders[f"reward-{gold}"].relative_to(root).as_posix())
        parts = {name: f"reward/{GOLD}:{name}" for name in MEASURES}
        names = {"kl": "kl", "proxy": f"reward/{proxy}", "gold": f"reward/{GOLD}:{gold}", "length": "length", **parts}
        for beta in how.betas:
            found: dict[str, list[dict[str, list[float]]]] = {level: [] for level in LEVELS}
            for number in range(how.seeds):
                for level in LEVELS:
                    name = run_name(gold, level, beta, how.seed + number)
                    curve = read_run(folders[name], names)
                    found[level].append(curve)
                    trained = (records[name].get("result") or {}).get("trained_parameters")
                    about = {"gold": gold, "on": level, "beta": beta, "seed": how.seed + number}
                    runs.append({**about, "trained_parameters": trained, "curve": curve})
            spread = _spread([curve for curves in found.values() for curve in curves])
            hacked = {level: [_hacked(curve, spread) for curve in curves] for level, curves in found.items()}
            for level, curves in found.items():
                arms.append({"gold": gold, "on": level, "beta": beta, **arm(curves, hacked[level])})
            gap, ci95 = student([t - c for t, c in zip(hacked["tokens"], hacked["codes"], strict=True)])
            shown = ci95 is not None and (ci95[0] > 0 or ci95[1] < 0)
            contrasts.append(
                {"gold": gold, "beta": beta, "tokens_less_codes": gap, "ci95": ci95, "seeds": how.seeds, "shown": shown}
            )
            pair = {level: next(a for a in arms[-2:] if a["on"] == level)["curve"] for level in LEVELS}
            equal += [{"gold": gold, "beta": beta, **row} for row in at_equal_kl(pair["codes"], pair["tokens"])]
    return {
        "schema": 1,
        "experiment": "preference",
        "size": size,
        "model": how.model,
        "proxies": {gold: _proxy(folders[f"reward-{gold}"], records[f"reward-{gold}"]) for gold in how.golds},
        "runs": runs,
        "arms": arms,
        "contrasts": contrasts,
        "at_equal_kl": equal,
    }


def _proxy(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    held = (record.get("result") or {}).get("heldout") or {}
    pairs = int(read_json(folder / "manifest.json")["config"]["epochs"])
    return {"epochs": pairs, **{key: held.get(key) for key in ("pairs", "accuracy", "ci95", "ece")}}


def _spread(curves: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Spread of a round's mean score in the first third of the rounds, detrended by its neighbours; at least 0.01."""
    found = {}
    for key in ("proxy", "gold"):
        steps = [
            b - a
            for curve in curves
            for a, b in zip(curve[key][: max(2, len(curve[key]) // 3)], curve[key][1:], strict=False)
        ]
        found[key] = max(0.01, float(np.std(steps)) / math.sqrt(2)) if steps else 0.01
    return found


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Smoothed value at the start and at the end."""
    line = smooth(values)
    return line[0], line[-1]


def _hacked(curve: Mapping[str, Sequence[float]], spread: Mapping[str, float]) -> float:
    """Rise of the proxy less that of the gold score, each in its own units."""
    rises = {key: (lambda ends: ends[1] - ends[0])(_ends(curve[key])) / spread[key] for key in ("proxy", "gold")}
    return rises["proxy"] - rises["gold"]


def arm(curves: Sequence[Mapping[str, Sequence[float]]], hacked: Sequence[float]) -> dict[str, Any]:
    """Runs of one kind, over their seeds."""
    shortest = min(len(curve["step"]) for curve in curves)
    means: dict[str, Any] = {"step": list(curves[0]["step"][:shortest])}
    for key in MEASURED:
        means[key] = smooth([float(np.mean([curve[key][i] for curve in curves])) for i in range(shortest)])
    for key in ("proxy", "gold"):
        lines = [smooth(curve[key][:shortest]) for curve in curves]
        ends = [student([line[i] for line in lines])[1] for i in range(shortest)]
        if all(end is not None for end in ends):
            means[f"{key}_ci95"] = ends
    mean, ci95 = student(hacked)
    start, end = ({key: means[key][place] for key in MEASURED} for place in (0, -1))
    return {
        "seeds": len(curves),
        "curve": means,
        "start": start,
        "end": end,
        "gain": {key: end[key] - start[key] for key in ("proxy", "gold")},
        "hacked": mean,
        "ci95": ci95,
        "fallen": max(means["gold"]) - means["gold"][-1],
    }


def at_equal_kl(codes: Mapping[str, Sequence[float]], tokens: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Proxy and gold score of both where they are equally far from the start, at some divergences that both reach."""
    most = min(max(codes["kl"]), max(tokens["kl"]))
    if most <= 0:
        return []
    rows = []
    for place in range(1, KL_POINTS + 1):
        kl = most * place / KL_POINTS
        row: dict[str, Any] = {"kl": kl}
        for level, curve in (("codes", codes), ("tokens", tokens)):
            row[level] = {key: _where(curve, kl, key) for key in ("proxy", "gold")}
        rows.append(row)
    return rows


def _where(curve: Mapping[str, Sequence[float]], kl: float, key: str) -> float:
    """``key`` where ``curve`` first gets to ``kl``, between two rounds by a straight line."""
    previous = (0.0, curve[key][0])
    for x, y in zip(curve["kl"], curve[key], strict=True):
        if x >= kl:
            share = (kl - previous[0]) / (x - previous[0]) if x > previous[0] else 1.0
            return float(previous[1] + min(1.0, max(0.0, share)) * (y - previous[1]))
        previous = (x, y)
    return float(curve[key][-1])
