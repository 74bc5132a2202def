"""Ordinary answers per second on one core: our math verifier, and math-verify alone on the same pairs in the same run.

    python benchmarks/measurements/verifier_speed.py DATA_FOLDER [--pairs 4000]
    python benchmarks/measurements/verifier_speed.py --hostile

``DATA_FOLDER`` holds gsm8k_test.jsonl and math500.jsonl (rows with ``answer`` and ``solution``). Each text is
a whole solution; every second one is set against another problem's gold answer, so half of the verdicts are
false. Nothing is graded twice, and the caches are emptied before each measurement. The process and its
workers are bound to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from colasearch.verifiers.answer import parse
from colasearch.verifiers.math import Math

Pair = tuple[str, str]


def pairs_of(folder: Path, name: str, count: int) -> list[Pair]:
    """``count`` (gold, text) pairs of a data set: its solutions with their own and with other gold answers."""
    with (folder / f"{name}.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    rng = random.Random(0)
    pairs = []
    for i in range(count):
        row = rows[i % len(rows)]
        gold = row["answer"] if i % 2 == 0 else rng.choice(rows)["answer"]
        # The running number makes each text new, so that no cache answers for a repeated row.
        pairs.append((gold, f"(attempt {i})\n{row['solution']}"))
    return pairs


def measure(pairs: list[Pair], grade: Callable[[Pair], object]) -> tuple[float, float, float, int]:
    """Answers per second, median and 99th percentile in ms, and the number of true verdicts."""
    seconds, true = [], 0
    start = time.perf_counter()
    for pair in pairs:
        begin = time.perf_counter()
        true += bool(grade(pair))
        seconds.append(time.perf_counter() - begin)
    rate = len(pairs) / (time.perf_counter() - start)
    return rate, 1e3 * statistics.median(seconds), 1e3 * statistics.quantiles(seconds, n=100)[-1], true


def hostile() -> None:
    """Grade the hostile corpus one answer after another, with ordinary answers between."""
    corpus = runpy.run_path(str(Path(__file__).parents[2] / "tests" / "verifiers" / "hostile.py"))
    math = Math()
    texts: list[str] = [*corpus["RESOURCE"].values(), *corpus["code_payloads"]("/nowhere/marker")]
    worst, ordinary = 0.0, []
    for text in texts:
        for bare in (True, False):
            start = time.perf_counter()
            math.score_pairs([("5", text)], bare=bare)
            worst = max(worst, time.perf_counter() - start)
            for gold, answer in (("7", "it is 7"), (r"\frac{1}{2}", r"\boxed{0.5}"), ("x+1", "1+x")):
                start = time.perf_counter()
                math.score_pairs([(gold, answer)])
                ordinary.append(time.perf_counter() - start)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(texts)} hostile answers, bare and in a text: slowest {worst:.2f} s with the first worker's start")
    print(f"ordinary answers behind them: p95 {1e3 * statistics.quantiles(ordinary, n=20)[-1]:.2f} ms")
    print(f"resident memory of this process at most {resident:.0f} MiB")


def main() -> None:
    """Print one line for each data set and grader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--hostile", action="store_true")
    options = parser.parse_args()
    if options.hostile:
        hostile()
        return
    if options.folder is None:
        parser.error("give the folder with gsm8k_test.jsonl and math500.jsonl, or --hostile")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    from math_verify import LatexExtractionConfig, verify
    from math_verify import parse as read
    from math_verify.parser import ExprExtractionConfig

    configuration = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]

    def alone(pair: Pair) -> bool:
        return bool(verify(read(f"${pair[0]}$"), read(pair[1], extraction_config=configuration)))

    print(f"{'data set':10} {'grader':22} {'answers/s':>10} {'median ms':>10} {'p99 ms':>8} {'true':>6}")
    for name in ("gsm8k_test", "math500"):
        pairs = pairs_of(options.folder, name, options.pairs)
        for grader in ("ours, batched", "ours, one by one", "math-verify alone"):
            parse.cache_clear()
            math = Math(workers=1)
            math.equal(r"\int_0^1 x dx", "1/2")  # a worker is running: its start is not an answer's time
            if grader == "ours, batched":
                start = time.perf_counter()
                true = sum(v.reward == 1 for v in math.score_pairs(pairs))
                rate = len(pairs) / (time.perf_counter() - start)
                print(f"{name:10} {grader:22} {rate:10.0f} {'':>10} {'':>8} {true:6}")
                continue
            subset = pairs if grader.startswith("ours") else pairs[: max(200, len(pairs) // 4)]
            grade = alone if grader.startswith("math") else lambda pair, m=math: m.score_pairs([pair])[0].reward == 1
            rate, median, p99, true = measure(subset, grade)
            note = f" (first {len(subset)})" if len(subset) < len(pairs) else ""
            print(f"{name:10} {grader:22} {rate:10.0f} {median:10.2f} {p99:8.1f} {true:6}{note}")


if __name__ == "__main__":
    main()
