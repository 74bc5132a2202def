"""Runs ``colasearch adapt``: the measure, the plan, the stages, then the model with its card, and what to try next."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from colasearch.experiments.recipes.adapting import (
    DATA,
    MODEL,
    PROBLEMS,
    Adapting,
    Plan,
    final_stage,
    plan_of,
    speed_stage,
    stages,
)
from colasearch.experiments.running.stages import KEY, RECORDS_NAME, records_by_name, run_stages
from colasearch.model.card import table
from colasearch.problem import LabelledProblem
from colasearch.storage.files import folder_atomic, sha256_of, write_atomic, write_sums
from colasearch.storage.runs import RunFolder, manifest_of
from colasearch.training.data.problems import labelled_or_none

Say = Callable[[str], None]


def run_adapting(how: Adapting, output: Path, *, resume: bool = False, say: Say = print) -> dict[str, Any]:
    """Run (or with ``resume`` go on with) ``how`` in ``output``; returns the summary.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, it was made with other settings, or the budget or the
            data is too small.
        PrerequisiteError: Another process is running it.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    hashes = {path: sha256_of(Path(path)) for path in how.data if Path(path).is_file()}
    manifest = manifest_of("adapt", json.loads(json.dumps(asdict(how))), hashes, {})
    with RunFolder(output, manifest, resume=resume, key=KEY, records=RECORDS_NAME) as folder:
        problems = labelled_or_none(how.data)
        first = speed_stage(how).found
        run_stages(folder, first, say)
        record = records_by_name(folder.records)["speed"]
        plan = plan_of(how, record["result"], float(record["seconds"]))
        say(told(plan))
        if plan.value:
            (output / DATA).mkdir(exist_ok=True)
            write_atomic(output / PROBLEMS, problem_rows(problems, plan.problems))
        every = stages(how, plan)
        run_stages(folder, every, say)
        records = records_by_name(folder.records)
        model = next(stage.folder for stage in every if stage.name == final_stage(plan))
        summary = summarise(plan, records)
        with folder_atomic(output / MODEL, replace=True) as temporary:
            shutil.copytree(output / model / MODEL, temporary, dirs_exist_ok=True)
            card = temporary / "README.md"
            write_atomic(card, f"{card.read_text(encoding='utf-8')}\n{notes(summary)}")
            write_sums(temporary)
        summary |= {"model": str(output / MODEL), "try": commands(output / MODEL, plan)}
        folder.write_summary(summary)
    return summary


def problem_rows(problems: Sequence[LabelledProblem], most: int) -> str:
    """``data/problems.jsonl``: the first ``most`` problems in the order of a hash of them."""
    lines = []
    order = sorted(problems, key=lambda one: hashlib.sha256(one.problem.text.encode()).hexdigest())
    for labelled in order[:most]:
        row = {"problem": labelled.problem.text, "answer": labelled.gold, **labelled.problem.data}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def told(plan: Plan) -> str:
    """The plan in words."""
    kind = "the base's own" if plan.own else "the given"
    expected = ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in plan.seconds.items() if seconds)
    return (
        f"plan: {plan.tokens:,} tokens of {kind} text, {plan.epochs} epochs in steps of {plan.batch_tokens:,} tokens, "
        f"learning rate {plan.lr:g}" + (f"; expected: {expected}" if expected else "")
    )


def summarise(plan: Plan, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What came out, from the stages' results."""
    held = records["evaluation"]["result"]["heldout"]
    value = records["value"]["result"]["heldout"] if "value" in records else {}
    texts = next((records[name]["result"] for name in ("texts", "rollouts") if name in records), None)
    return {
        "schema": 1,
        "kind": "adapt",
        "plan": asdict(plan),
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "texts": texts and {name: texts[name] for name in ("rollouts", "tokens", "mean_reward")},
        "heldout": held,
        "value": value,
    }


def notes(summary: Mapping[str, Any]) -> str:
    """The card's last part: what a user wants to know first of these codes."""
    held, value, plan = summary["heldout"], summary["value"], summary["plan"]
    rows = {
        "codes alive": int(held["alive"]),
        "base's cross-entropy": held["base_ce"],
        "world model's, under the inverse dynamics model's codes": held["wm_ce"],
        "policy's, of those codes": held["policy_ce"],
        "mixture's KL from the base": held.get("mixture_kl", "not measured"),
        "perplexity of text by codes over the base's own": held.get("text_perplexity_ratio", "not measured"),
    }
    if summary["texts"]:
        rows["share of right texts"] = summary["texts"]["mean_reward"]
    if "order" in value:
        rows[f"value head: pairs of a right and a wrong text in order, of {int(value['pairs'])}"] = value["order"]
    kind = "the base's own texts, right and wrong," if plan["own"] else "given texts,"
    return (
        f"## Made by colasearch adapt\n\nLearned on {plan['tokens']:,} tokens of {kind} {plan['epochs']} epochs. "
        f"Held-out measures of the finished model, nats a token:\n\n{table(rows)}"
    )


def commands(model: Path, plan: Plan) -> list[str]:
    """What to try next."""
    name = shlex.quote(str(model))
    sims = 32 if plan.value else 16
    return [
        f"colasearch solve problem.txt --model {name} --sims {sims}",
        f"colasearch bench gsm8k --model {name} --sims {sims} --limit 50",
        f"colasearch bench gsm8k --model {name} --actions sampled --searcher majority --sims {sims} --limit 50",
    ]
