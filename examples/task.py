"""A task of your own, named as examples/task.py or examples/task.py:pair: two numbers of a given sum and product."""

import re

from colasearch.tasks import Task


def answer(text):
    """The last "a, b" of a text; None where there is none."""
    found = re.findall(r"-?\d+ *, *-?\d+", text)
    return found[-1] if found else None


def right(problem, answer):
    """The problem alone says what is right, so a search may use this; with a third parameter, gold, none would."""
    a, b = (int(part) for part in answer.split(","))
    return a + b == problem.data["sum"] and a * b == problem.data["product"]


pair = Task(
    name="pair",
    request="Find two whole numbers of sum {sum} and product {product}. End with: Answer: a, b",
    answer=answer,
    verifier=right,
    key=lambda answer: tuple(sorted(int(part) for part in answer.split(","))),
    data=("sum", "product"),
    wording=lambda data: f"Sum {data['sum']}, product {data['product']}.",
)
