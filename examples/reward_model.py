"""A reward model that values the leaves of a search: `--values rm:FOLDER`, from Python.

    python examples/reward_model.py [FOLDER]

Without a folder a tiny model with random weights is made, to show the form: any sequence classifier with one output, as
TRL's RewardTrainer or ``colasearch train reward`` saves it.
"""

import sys
import tempfile

import torch
from transformers import LlamaForSequenceClassification

from colasearch import WorldConfig, load, solve
from colasearch.defaults import text_limit
from colasearch.rewards import reward_of, settled
from colasearch.tasks.reading import parse_problem


def random_model(base, folder):
    """A classifier over the base's tokens, in a folder."""
    config = small_config(base.model.config)
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


def small_config(config):
    """The base's architecture, two layers deep, with one output."""
    small = type(config).from_dict({**config.to_dict(), "num_hidden_layers": 2, "num_labels": 1})
    small.pad_token_id = small.eos_token_id if small.pad_token_id is None else small.pad_token_id
    return small


def main(folder=None, sims=8, text="What is 3 times 5?"):
    """Score two texts, then search with the same model as the judge of leaves."""
    lm = load("countdown-tiny", device="cpu")
    with tempfile.TemporaryDirectory() as made:
        specs = settled([f"rm:{folder or random_model(lm.base, made)}"])
        problem = parse_problem(text, "math")
        texts = ["3 * 5 = 15\n\\boxed{15}", "3 + 5 = 8\n\\boxed{8}"]
        scores = [one.value for one in reward_of(specs, unit=True).score([problem, problem], texts)]
        print("scores:", scores)
        world = WorldConfig(values=specs, max_tokens=text_limit(lm.base, ["math"]))
        result = solve(problem, lm, sims=sims, config=world)
    print("answer:", result.answer)
    return scores, result


if __name__ == "__main__":
    main(*sys.argv[1:2])
