"""Accuracy of independent samples on 20 problems: share of right ones, majority, any.

    python benchmarks/measurements/sample_accuracy.py [--model M] [--actions latent|sampled] [--temperature T]
        [--data FILE]

Without ``--data`` the problems are 20 easy generated ones of four kinds, 12 samples each; with it 20 rows of a jsonl
file (``problem``, ``answer``), 8 samples each. Seeds are fixed. Gold answers are used for scoring alone.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path

NAMES = ["Anna", "Ben", "Carla", "Dev", "Emma", "Finn", "Gina", "Hugo"]
THINGS = ["apples", "marbles", "stickers", "books", "coins", "pencils", "shells", "cards"]


def easy_problems(count: int = 20) -> list[tuple[str, str]]:
    """Problems and answers: give, lose, groups of, two people and a purchase, in turn."""
    rng = random.Random(5)
    problems: list[tuple[str, str]] = []
    for i in range(count):
        name = rng.choice(NAMES)
        other = rng.choice([x for x in NAMES if x != name])
        things, a, b = rng.choice(THINGS), rng.randint(3, 20), rng.randint(2, 9)
        if i % 4 == 0:
            text = f"{name} has {a} {things}. {other} gives {name} {b} more {things}. "
            text += f"How many {things} does {name} have now?"
            answer = a + b
        elif i % 4 == 1:
            text = f"{name} had {a + 10} {things} and lost {b} of them. How many {things} are left?"
            answer = a + 10 - b
        elif i % 4 == 2:
            text = f"There are {b} bags with {a} {things} in each bag. How many {things} are there in total?"
            answer = a * b
        else:
            c = rng.randint(2, 6)
            text = f"{name} has {a} {things}. {other} has {b} {things} and buys {c} more. "
            text += f"How many {things} do they have altogether?"
            answer = a + b + c
        problems.append((text, str(answer)))
    return problems


def main() -> None:
    """Run and print one line."""
    import torch

    from colasearch.engine.settings import Sampling, WorldConfig
    from colasearch.engine.trees.world import LatentWorld
    from colasearch.model.latent_lm import LatentLM
    from colasearch.problem import Problem
    from colasearch.verifiers import canonical_key

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--actions", choices=["latent", "sampled"], default="latent")
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    problems, samples, length = easy_problems(), 12, 120
    if given.data is not None:
        rows = [json.loads(line) for line in given.data.read_text(encoding="utf-8").splitlines()]
        problems = [(row["problem"], str(row["answer"])) for row in random.Random(1).sample(rows, 20)]
        samples, length = 8, 160
    heat = given.temperature
    sampling = Sampling(temperature=heat if given.actions == "latent" else 1.0, token_temperature=heat)
    config = WorldConfig(max_tokens=length, references=samples, sampling=sampling)
    world = LatentWorld(LatentLM.from_pretrained(given.model), config, seed=0, actions=given.actions)
    states, _, _ = world.root([Problem.from_text(text) for text, _ in problems])
    right = majority = some = 0
    for state, (_, gold) in zip(states.tolist(), problems, strict=True):
        finished = world.trees[world.nodes[state].tree].finished
        keys = [canonical_key(f.answer) for f in finished if f.answer is not None]
        hits = keys.count(canonical_key(gold))
        right, some = right + hits, some + (hits > 0)
        majority += bool(keys) and Counter(keys).most_common(1)[0][0] == canonical_key(gold)
    n = len(problems)
    print(f"sample {right / (n * samples):.3f} majority {majority / n:.2f} any {some / n:.2f}")


if __name__ == "__main__":
    main()
