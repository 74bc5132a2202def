"""A process reward model from rollouts: what `--values prm:FOLDER` scores a search's steps with.

    colasearch train rollouts --model countdown-tiny --data problems.jsonl --task countdown --samples 8 --output rollouts.jsonl
    python examples/train_prm.py rollouts.jsonl problems.jsonl prm --epochs 3
    colasearch solve examples/countdown.json --values prm:prm --searcher puct

A step's label is what became of its text: right or wrong in the end. The model is the base under a colasearch model with
a head of two labels at the line break after each step, laid out as TRL's PRMTrainer laid it out. A tenth of the problems
is held out, and what is printed last is measured on them.
"""  # noqa: E501

import argparse
import json
import random
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification, Trainer, TrainingArguments

from colasearch import load
from colasearch.tasks import prompt_tokens
from colasearch.tasks.reading import parse_problem


def rows_of(base, rollouts, problems, task):
    """Rows to train on: tokens of a problem and its steps, labels after each step (-100 elsewhere), and the problem."""
    encode = lambda text: base.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    known = {}
    for line in Path(problems).read_text().splitlines():
        problem = parse_problem(json.loads(line)["problem"], task)
        known[tuple(prompt_tokens(base.tokenizer, problem))] = problem.text
    rows = []
    for line in Path(rollouts).read_text().splitlines():
        rollout = json.loads(line)
        text = known[tuple(rollout["prompt"])]
        tokens = encode(text)
        labels = [-100] * len(tokens)
        said = base.tokenizer.decode(rollout["tokens"], skip_special_tokens=True)
        for step in filter(str.strip, said.split("\n")):
            part = [*encode(step), *encode("\n")]
            tokens += part
            labels += [-100] * (len(part) - 1) + [int(rollout["reward"] >= 0.5)]
        rows.append({"input_ids": tokens, "labels": labels, "problem": text})
    return rows


def ranking(model, rows):
    """Of two texts of one problem, one right and one wrong: how often the right one has the better worst step."""
    model.eval()
    scored = {}
    for row in rows:
        at = [place for place, label in enumerate(row["labels"]) if label != -100]
        with torch.inference_mode():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, at]
        scored.setdefault(row["problem"], []).append((row["labels"][at[-1]], float(logits.softmax(-1)[:, 1].min())))
    pairs = [
        (right > wrong) + (right == wrong) / 2
        for texts in scored.values()
        for label, right in texts
        for other, wrong in texts
        if label > other
    ]
    return sum(pairs) / max(1, len(pairs)), len(pairs)


def main(rollouts, problems, output, epochs=3.0, model="countdown-tiny", task="countdown", seed=0, steps=-1):
    """Train, save to ``output``, and return the share of held-out pairs that are ranked right, and their number."""
    base = load(model, device="cpu").base
    rows = rows_of(base, rollouts, problems, task)
    names = sorted({row["problem"] for row in rows})
    random.Random(seed).shuffle(names)
    held = set(names[: max(1, len(names) // 10)])
    training = [{key: row[key] for key in ("input_ids", "labels")} for row in rows if row["problem"] not in held]
    torch.manual_seed(seed)
    base.model.save_pretrained(output)
    judge = AutoModelForTokenClassification.from_pretrained(output, num_labels=2)
    settings = TrainingArguments(
        output_dir=f"{output}/trainer",
        num_train_epochs=epochs,
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=3e-4,
        lr_scheduler_type="cosine",
        weight_decay=0.01,
        logging_steps=100,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=seed,
    )
    collator = DataCollatorForTokenClassification(base.tokenizer)
    Trainer(model=judge, args=settings, train_dataset=training, data_collator=collator).train()
    judge.save_pretrained(output)
    base.tokenizer.save_pretrained(output)
    return ranking(judge, [row for row in rows if row["problem"] in held])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rollouts")
    parser.add_argument("problems")
    parser.add_argument("output")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--model", default="countdown-tiny")
    parser.add_argument("--task", default="countdown")
    share, count = main(**vars(parser.parse_args()))
    print(f"{share:.1%} of {count} held-out pairs are ranked right")
