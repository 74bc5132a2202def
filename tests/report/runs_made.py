"""Run folders for the report tests: written by the real ``RunFolder``, with made-up searches and known outcomes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from colasearch.benchmarks.harness.summary import build
from colasearch.storage.runs import RunFolder, manifest_of
from colasearch.storage.traces import Trace, TraceNode, TraceText

WORDS = re.findall(r"\S+", "so the total is we add then multiply each pair of boxes by 12 hence 7 + 5 = 12 and then")
RIGHT = {"gumbel": 0.62, "greedy": 0.4, "majority": 0.55, "best_of_n": 0.5}


def made_trace(
    problem_id: str = "p-1",
    nodes: int = 40,
    seed: int = 0,
    searcher: str = "gumbel",
    text: str = "How many stickers?",
    step: Callable[[random.Random], str] | None = None,
) -> Trace:
    """A random tree with consistent visits; deterministic in its arguments."""
    rng = random.Random(f"{problem_id}{seed}{searcher}")
    step = step or (lambda r: " " + " ".join(r.choices(WORDS, k=r.randint(3, 14))))
    parents, children = [-1], {0: 0}
    for slot in range(1, nodes):
        open_slots = [s for s in children if children[s] < 6]
        parent = max(rng.choices(open_slots, k=2))
        parents.append(parent)
        children[parent] += 1
        children[slot] = 0
    leaves = {slot for slot in range(1, nodes) if not children[slot]}
    visits = [1] * nodes
    for slot in range(nodes - 1, 0, -1):
        visits[parents[slot]] += visits[slot]
    made = [TraceNode(-1, -1, (), (), "", visits[0], 0.41, 0.38, 0.0, 1.0, "", None, (0.5, 0.5))]
    for slot in range(1, nodes):
        ends = "" if slot not in leaves else rng.choice(["answer", "answer", "answer", "cut"])
        codes = tuple(sorted(rng.sample(range(64), rng.randint(1, 4))))
        answer = str(rng.randint(40, 56)) if ends == "answer" else None
        words = step(rng) + (f" The answer is {answer}." if answer else "")
        value, prior = rng.random(), rng.random() / 4
        made.append(
            TraceNode(
                parents[slot],
                codes[0],
                codes,
                (1,) * 9,
                words,
                visits[slot],
                value,
                rng.random(),
                0.0,
                prior,
                ends,
                answer,
                (),
            )
        )
    best = max((s for s in leaves if made[s].end == "answer"), key=lambda s: made[s].value, default=0)
    texts = tuple(TraceText(n.text, n.answer, n.value) for n in made if n.end == "answer")
    return Trace(
        problem_id,
        "math",
        text,
        "tiny",
        searcher,
        0,
        "latent",
        (1,) * 45,
        made[best].answer,
        best,
        (),
        tuple(made),
        texts,
        "budget",
        nodes - 1,
        9 * nodes,
        4 * nodes,
    )


def made_run(
    folder: Path,
    *,
    problems: int = 12,
    sims: Sequence[int] = (4, 16),
    nodes: int = 20,
    traces: bool = True,
    subjects: Sequence[str] = ("Algebra", "Number Theory"),
    finish: bool = True,
    fail: int | None = None,
    text: str = "Problem {i}: a shop sells {i} boxes of pencils with 12 in each. How many pencils is that?",
) -> Path:
    """Write a run folder; outcomes are drawn from fixed seeds. ``fail``: the problem that gumbel errors on."""
    settings = {
        "benchmark": "svamp",
        "model": "smollm2-135m",
        "searcher": "gumbel",
        "arms": list(RIGHT),
        "sims": list(sims),
        "seed": 0,
    }
    ids = [f"chal-{i}" for i in range(problems)]
    manifest = manifest_of("bench", settings, {}, {"data": {"source": "made", "rows": problems}})
    with RunFolder(folder, manifest) as run:
        for count in sims:
            for arm, right in RIGHT.items():
                if arm == "greedy" and count != sims[0]:
                    continue
                for i, name in enumerate(ids):
                    key = 0 if arm == "greedy" else count
                    rng = random.Random(f"{arm}{count}{i}")
                    base = {
                        "problem_id": name,
                        "arm": arm,
                        "sims": key,
                        "subject": subjects[i % len(subjects)],
                        "level": None,
                    }
                    base |= {"gold": str(i * 12), "wall_seconds": 0.3}
                    if fail == i and arm == "gumbel":
                        error = {"kind": "InputError", "message": f"{name}: the prompt has 600 tokens; at most 512 fit"}
                        run.append({**base, "status": "error", "error": error})
                        continue
                    correct = rng.random() < right * (0.6 + 0.4 * count / sims[-1])
                    trace = None
                    if traces:
                        path = run.trace_path(f"{arm}-{key}", name)
                        made_trace(name, nodes, count, arm, text.format(i=i)).write(path)
                        trace = run.relative(path)
                    answer = str(i * 12) if correct else str(i * 12 + rng.randint(1, 9))
                    tokens = 60 if arm == "greedy" else 110 * count + rng.randint(0, 50)
                    run.append(
                        {
                            **base,
                            "status": "ok",
                            "error": None,
                            "answer": answer,
                            "text": f"It is {answer}.",
                            "correct": correct,
                            "oracle": correct or rng.random() < 0.4,
                            "texts": count,
                            "texts_correct": count // 2,
                            "candidates": [
                                {"answer": answer, "weight": 0.7, "count": 3},
                                {"answer": "7", "weight": 0.3, "count": 1},
                            ],
                            "stop": "budget",
                            "sims_done": count,
                            "effective_branching": 0.6 if arm == "gumbel" else None,
                            "token_budget": None if arm in ("gumbel", "greedy") else tokens,
                            "generated_tokens": tokens,
                            "model_calls": tokens // 3,
                            "seconds": 1.5,
                            "trace": trace,
                        }
                    )
        if finish:
            run.write_summary(
                build(
                    run.records,
                    benchmark="svamp",
                    model="smollm2-135m",
                    seed=0,
                    searcher="gumbel",
                    arms=list(RIGHT),
                    sims=sims,
                    ids=ids,
                    groups={"subject": sorted(set(subjects))},
                    data={"source": "made", "remarks": []},
                )
            )
    return folder
