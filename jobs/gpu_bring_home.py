"""Makes a model folder of what ``gpu_adapt.py`` brought back, and grades the texts that it wrote.

    python jobs/gpu_bring_home.py FILES --base qwen.gguf --tests prompts/tests.json --output runs/qwen-latent

FILES is the folder of what came back. The base is loaded for its identity, so that the folder says whose modules
these are; ``LatentLM.from_pretrained(OUTPUT/model)`` and ``--model OUTPUT/model`` load it. Grades are printed as JSON,
and kept in ``OUTPUT/grades.json``: shares of right answers of each set of tests by how its texts were made, of one text
a problem, of the majority of its samples, and of any of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.model.base import BaseModel
from colasearch.model.card import model_card
from colasearch.model.config import LatentConfig
from colasearch.model.latent_lm import LatentModules, save_latents
from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers import extract_answer, get_verifier

PARTS = ("idm", "policy", "rest")


def modules_of(folder: Path, base: BaseModel) -> LatentModules:
    """The modules that came back, with their measures in the configuration."""
    from safetensors.torch import load_file

    notes = json.loads((folder / "metrics.json").read_text())
    tensors = {k: v.float() for part in PARTS for k, v in load_file(str(folder / f"own-{part}.safetensors")).items()}
    config = LatentConfig.from_dict(notes["config"])
    plan, results = notes["plan"], notes["results"]
    stages = {
        "own texts": {"config": {k: str(v) for k, v in plan.items()}, "heldout": results["own"]["own"]},
        "value": {"config": {"width": plan["value_width"]}, "heldout": results["value"]},
    }
    width = len(tensors["value.up.weight"]) if "value.up.weight" in tensors else plan["value_width"]
    config = dataclasses.replace(config, base=base.identity, value_hidden=width, training=stages)
    modules = LatentModules(config)
    modules.load_state_dict(tensors)
    return modules


def grades(texts: Mapping[str, Any], tests: Sequence[Mapping[str, str]], tokenizer: Any) -> dict[str, Any]:
    """Shares of right answers by way of writing and set; problems with texts that were not done in time are out."""
    verifier = get_verifier("math")
    found: dict[str, Any] = {}
    for name, made in texts.items():
        samples = int(made["samples"])
        done = {int(number): tokens for number, tokens in made["texts"].items()}
        by_set: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
        for place, row in enumerate(tests):
            numbers = range(place * samples, (place + 1) * samples)
            if not all(number in done for number in numbers):
                continue
            written = [tokenizer.decode(done[n], skip_special_tokens=True) for n in numbers]
            labelled = LabelledProblem(Problem.from_text(row["problem"]), row["answer"])
            right = [verdict.correct is True for verdict in verifier.score_batch([(labelled, t) for t in written])]
            answers = [extract_answer(text) for text in written]
            votes = Counter(a for a in answers if a is not None)
            best = answers.index(votes.most_common(1)[0][0]) if votes else 0
            by_set[row["set"]].append((right[0], right[best], any(right)))
        found[name] = {
            which: {
                "problems": len(rows),
                **{k: sum(r[i] for r in rows) / len(rows) for i, k in enumerate(("one", "majority", "any"))},
            }
            for which, rows in by_set.items()
        }
    return found


def main() -> None:
    """Parse, make the folder, grade."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path)
    parser.add_argument("--base", required=True, help="known name, folder or file of the base")
    parser.add_argument("--tests", type=Path, required=True, help="tests.json of gpu_prompts.py")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    base = BaseModel.load(args.base, "cpu")
    modules = modules_of(args.files, base)
    args.output.mkdir(parents=True, exist_ok=True)
    save_latents(modules, args.output / "model", model_card(modules.config))
    with gzip.open(args.files / "tests.json.gz", "rt") as stream:
        found = grades(json.load(stream), json.loads(args.tests.read_text()), base.tokenizer)
    (args.output / "grades.json").write_text(json.dumps(found, indent=2))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
