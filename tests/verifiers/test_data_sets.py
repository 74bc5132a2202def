"""Real gold answers: every one equals itself and its reformattings, no perturbed one passes. Skipped without data."""

import json
import random
import re
from collections.abc import Callable

import pytest

from colasearch.verifiers import group_answers
from colasearch.verifiers.answer import parse
from colasearch.verifiers.math import Math

Rows = Callable[[str], list[dict[str, str]]]

_SETS = ["math500", "math12k_train", "olympiadbench", "aime24"]


@pytest.fixture(scope="module")
def math() -> Math:
    return Math()


def reformatted(answer: str) -> list[str]:
    """Other spellings of an answer that any reader takes for the same."""
    out = [
        answer.replace(r"\frac", r"\dfrac"),
        answer.replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac"),
        re.sub(r"\\(?:left|right)(?![A-Za-z])", "", answer),
        rf"\displaystyle {answer}",
        f" {answer} ",
        re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", answer),
        re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", answer),
        answer.replace(r"\pi", "π"),
        answer.replace(r"\$", ""),
        answer.replace(r"\%", "%"),
        answer.replace(r"^\circ", "°"),
        answer.replace(r",\!", ","),
        answer.replace(r"\cdot", r"\times"),
        re.sub(r"(?<![\d.,_^{(])(\d{4,})(?![\d.},)])", lambda m: f"{int(m[1]):,}", answer)
        if "," not in answer
        else answer,
    ]
    if "$" not in answer:
        out += [f"${answer}$", rf"\({answer}\)", rf"$\boxed{{{answer}}}$", f"**{answer}**"]
        if not answer.rstrip().endswith("."):
            out.append(f"{answer}.")
    if re.fullmatch(r"-?\\d?frac\{\d+\}\{\d+\}", answer):
        out += [re.sub(r"\\d?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", answer), f"x = {answer}"]
    if re.fullmatch(r"-?\d+", answer):
        out += [
            f"{answer}.0",
            rf"{answer}\text{{ units}}",
            f"x = {answer}",
            rf"\text{{{answer}}}",
            rf"\frac{{{answer}}}{{1}}",
        ]
    if re.fullmatch(r"\\text\{[^{}]*\}", answer):
        out += [answer[6:-1], rf"\mathrm{{{answer[6:-1]}}}"]
    return [o for o in dict.fromkeys(out) if o != answer]


def perturbed(answer: str) -> list[str]:
    """Answers near an answer that are wrong."""
    out = []
    for number in re.finditer(r"\d+", answer):
        before, n, after = answer[: number.start()], int(number[0]), answer[number.end() :]
        if "text" not in before + after and "mbox" not in before + after:  # else it may belong to a unit
            out += [f"{before}{n + 1}{after}", f"{before}{n}7{after}"]
            if n > 0:
                out.append(f"{before}{n - 1}{after}")
    if (
        re.match(r"[1-9\\]", answer)
        and "," not in answer
        and not re.search(r"[=<>]|text|mbox|begin|in\b|neq|cup|le|ge", answer)
    ):
        out.append(f"-{answer}")
    if re.fullmatch(r"\(\s*[^,()]+,[^,()]+\)", answer):
        left, right = answer[1:-1].split(",")
        if left.strip() != right.strip():
            out += [f"({right},{left})", f"[{answer[1:]}"]
    if re.fullmatch(r"[-\d, ]+", answer) and "," in answer and not re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", answer):
        out += [answer.rpartition(",")[0], f"{answer}, 1717"]
    return [o for o in dict.fromkeys(out) if o != answer and not re.search(r"(?<!\d)00", o)]


@pytest.mark.parametrize("name", ["math500", "math12k_train"])
def test_the_grammar_reads_every_gold_answer(rows: Rows, name: str) -> None:
    assert [row["answer"] for row in rows(name) if parse(row["answer"]).node is None] == []


@pytest.mark.parametrize("name", _SETS)
def test_gold_answers_equal_themselves(math: Math, rows: Rows, name: str) -> None:
    golds = [row["answer"] for row in rows(name)]
    wrong = [
        g for g, v in zip(golds, math.score_pairs([(g, g) for g in golds], bare=True), strict=True) if v.reward != 1
    ]
    assert wrong == []
    texts = [(g, f"We are done: the answer is\n$\\boxed{{{g}}}$.") for g in golds if "$" not in g]
    wrong = [t[0] for t, v in zip(texts, math.score_pairs(texts), strict=True) if v.reward != 1]
    assert wrong == []


@pytest.mark.parametrize("name", ["math500", "math12k_train"])
def test_reformatted_answers_are_accepted(math: Math, rows: Rows, name: str) -> None:
    golds = list(dict.fromkeys(row["answer"] for row in rows(name)))
    pairs = [(gold, other) for gold in golds for other in reformatted(gold)]
    assert len(pairs) > 1500
    wrong = [p for p, v in zip(pairs, math.score_pairs(pairs, bare=True), strict=True) if v.reward != 1]
    assert len(wrong) <= len(pairs) // 1000, wrong[:20]
    if name == "math500":
        assert wrong == []


@pytest.mark.parametrize("name", ["math500", "math12k_train"])
def test_perturbed_answers_are_rejected(math: Math, rows: Rows, name: str) -> None:
    golds = list(dict.fromkeys(row["answer"] for row in rows(name)))
    pairs = [(gold, other) for gold in golds for other in perturbed(gold)]
    assert len(pairs) > 1000
    wrong = [p for p, v in zip(pairs, math.score_pairs(pairs, bare=True), strict=True) if v.reward == 1]
    assert wrong == []


def test_different_golds_are_told_apart(math: Math, rows: Rows) -> None:
    golds = list(dict.fromkeys(row["answer"] for row in rows("math500")))
    rng = random.Random(0)
    pairs = [tuple(rng.sample(golds, 2)) for _ in range(1500)]
    accepted = [p for p, v in zip(pairs, math.score_pairs(pairs, bare=True), strict=True) if v.reward == 1]
    groups = [group_answers(pair) for pair in accepted]
    assert all(g[0] == g[1] for g in groups), accepted  # an accepted pair is two spellings of one answer
    assert len(accepted) <= 8


def test_gsm8k_solutions(math: Math, rows: Rows) -> None:
    data = rows("gsm8k_test")
    for change in (
        lambda s: s,
        lambda s: re.sub(r"#### (.*)", r"A: \1", s),
        lambda s: re.sub(r"#### (.*)", r"The answer is $\1.", s),
        lambda s: re.sub(r"#### (.*)", r"So in all it is **\1** dollars.\n\\boxed{\1}", s),
    ):
        right = math.score_pairs([(row["answer"], change(row["solution"])) for row in data])
        assert all(v.reward == 1 for v in right)
    others = [data[(i + 1) % len(data)]["answer"] for i in range(len(data))]
    pairs = [(o, row["solution"]) for o, row in zip(others, data, strict=True) if float(o) != float(row["answer"])]
    assert all(v.reward == 0 for v in math.score_pairs(pairs))


def test_key_of_every_gold_answer(rows: Rows) -> None:
    golds = [row["answer"] for row in rows("math12k_train")]
    assert group_answers(golds) == group_answers([json.loads(json.dumps(g)) for g in golds])
    ids = group_answers([form for gold in golds[:2000] for form in (gold, f"${gold}$", rf"\displaystyle {gold}")])
    assert all(ids[i] == ids[i + 1] == ids[i + 2] for i in range(0, len(ids), 3))
