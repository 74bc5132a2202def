"""Our verifiers as rewards of TRL: GRPO on Countdown, a few steps.

    pip install trl datasets
    python examples/trl_grpo.py runs/grpo 2

The base under ``countdown-tiny`` stands for a model of your own. Columns of the data set (``numbers``, ``target``)
reach the verifier as the problem's data.
"""

import sys

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from colasearch import load
from colasearch.tasks import prompt_text
from colasearch.tasks.reading import parse_problem
from colasearch.verifiers import get_verifier
from colasearch.verifiers.adapters import trl_reward

TEXTS = ("Make 24 from 3, 5, 9.", "Make 12 from 3, 4, 7.", "Make 15 from 3, 5.", "Make 52 from 4, 7, 8.")


def main(output="runs/grpo", steps=2):
    """Train, and return TRL's log."""
    base = load("countdown-tiny", device="cpu").base
    problems = [parse_problem(text) for text in TEXTS]
    rows = [{"prompt": prompt_text(base.tokenizer, problem), **problem.data} for problem in problems]
    config = GRPOConfig(
        output_dir=str(output),
        max_steps=int(steps),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=32,
        learning_rate=1e-5,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    trainer = GRPOTrainer(
        model=base.model,
        reward_funcs=[trl_reward(get_verifier("countdown"), task="countdown")],
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=base.tokenizer,
    )
    trainer.train()
    return trainer.state.log_history


if __name__ == "__main__":
    main(*sys.argv[1:])
