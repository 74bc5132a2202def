"""Countdown to learn from, and a small base learned from it."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
import torch

from colasearch.errors import InputError
from colasearch.model.base import BaseModel
from colasearch.model.ends import encode
from colasearch.problem import LabelledProblem, Problem
from colasearch.tasks import prompt_tokens
from colasearch.training.base.from_scratch import BaseLearner, make_tokenizer, new_base, save_base
from colasearch.training.data.corpus import batches, load_corpus
from colasearch.training.data.problems import Reward
from colasearch.training.generated.countdown import CountdownConfig, attempt, countdown_rows, split_of
from colasearch.training.running.loop import LoopConfig, TrainRun, fit
from colasearch.verifiers.countdown import evaluate_expression


def rows_of(count: int = 300, split: str = "train", **changes) -> list[dict]:
    return list(countdown_rows(count, 0, split, CountdownConfig(**changes)))


def attempts_of(row: dict) -> tuple[list[list[str]], str | None]:
    """The equations of each attempt, and what is in the box (None where there is none)."""
    attempts: list[list[str]] = [[]]
    box = None
    for line in row["solution"].split("\n"):
        if line == "no":
            attempts.append([])
        elif line.startswith("\\boxed{"):
            box = line.removeprefix("\\boxed{").removesuffix("}")
        else:
            attempts[-1].append(line)
    return [a for a in attempts if a], box


def test_solutions_are_true_and_boxes_hold_the_last_attempt():
    reward = Reward("countdown")
    right = without = 0
    rows = rows_of()
    for row in rows:
        attempts, box = attempts_of(row)
        for equations in attempts:
            fewest = len(row["numbers"]) - 1 if row.get("use") == "all" else 1
            assert fewest <= len(equations) <= len(row["numbers"]) - 1
            for equation in equations:
                left, value = equation.split("=")
                assert evaluate_expression(left)[0] == int(value)
                assert 1 <= int(value) <= 9801
            assert 1 <= int(equations[-1].split("=")[1]) <= 198
        results = [int(equations[-1].split("=")[1]) for equations in attempts]
        assert row["target"] not in results[:-1]
        without += box is None
        if box is None:
            assert results[-1] != row["target"]
            continue
        assert evaluate_expression(box)[0] == results[-1]
        problem = LabelledProblem(Problem.from_text("", "countdown", row), "")
        assert reward([(problem, row["solution"])]) == [float(results[-1] == row["target"])]
        right += results[-1] == row["target"]
    assert 0.4 < right / len(rows) < 0.7  # partly unsuccessful, as wanted
    assert 0.1 < without / len(rows) < 0.4


def test_problems_have_all_shapes_and_both_rules():
    rows = rows_of(600, skill=1.0)
    exactly = [row for row in rows if row.get("use") == "all"]
    assert 0.4 < len(exactly) / len(rows) < 0.6
    assert all(row["problem"].endswith("using each exactly once.") == (row.get("use") == "all") for row in rows)
    counts = [[len(row["numbers"]) for row in rows].count(size) / len(rows) for size in (3, 4, 5)]
    assert [round(share, 1) for share in counts] == [0.4, 0.4, 0.2]
    left_out = [row for row in rows if row["solution"].count("=") < len(row["numbers"]) - 1]
    assert all("use" not in row for row in left_out)
    assert 0.1 < len(left_out) / (len(rows) - len(exactly)) < 0.4
    boxes = [attempts_of(row)[1] for row in rows]
    # Products and quotients are not left to chance: drawn as one expression falls, they would be 6 and 7 in 100.
    assert all(sum(sign in box for box in boxes) / len(boxes) > 0.1 for sign in "*/")
    largest = [max(int(n) for n in re.findall(r"=(\d+)", row["solution"])) for row in rows]
    assert any(n > 1000 for n in largest)


@pytest.mark.parametrize(
    "changes", [{"sizes": ()}, {"sizes": (1,)}, {"last": 98}, {"most": 197}, {"reached": 0}, {"exactly": 1.5}]
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(InputError, match="sizes must be at least 2"):
        rows_of(1, **changes)


@pytest.mark.parametrize(("skill", "least", "most"), [(1.0, 1.0, 1.0), (0.0, 0.1, 0.3)])
def test_skill_says_how_many_are_solved(skill, least, most):
    rows = rows_of(skill=skill)
    solved = sum(int(attempts_of(r)[0][-1][-1].split("=")[1]) == r["target"] for r in rows)
    assert least <= solved / len(rows) <= most


@pytest.mark.parametrize(("gives_up", "boxed"), [(1.0, False), (0.0, True)])
def test_who_gives_up_gives_no_answer(gives_up, boxed):
    rows = rows_of(skill=0.0, gives_up=gives_up, attempts=1)
    failed = [r for r in rows if int(attempts_of(r)[0][-1][-1].split("=")[1]) != r["target"]]
    assert len(failed) > 200
    assert all((attempts_of(r)[1] is not None) == boxed for r in failed)


def test_held_out_numbers_and_targets_never_occur_in_training():
    train, held = rows_of(1500), rows_of(100, "heldout")
    assert not {tuple(sorted(r["numbers"])) for r in train} & {tuple(sorted(r["numbers"])) for r in held}
    assert not {r["target"] for r in train} & {r["target"] for r in held}
    assert len({r["target"] for r in held}) >= 5
    for r in train[:50]:
        assert split_of(r["numbers"][::-1], r["target"]) == "train"
    with pytest.raises(InputError, match="unknown split 'test'"):
        rows_of(1, "test")


def test_equal_seeds_give_equal_problems_everywhere():
    assert rows_of(20) == rows_of(20)
    assert rows_of(3) == rows_of(20)[:3]
    first = rows_of(1)[0]
    assert (first["numbers"], first["target"], first["use"]) == ([16, 80, 54, 90, 76], 81, "all")
    wrong = "90+80=170\n76+54=130\n130-16=114\n170-114=56\nno\n80+54=134\n76-16=60\n134-90=44\n60-44=16\nno"
    assert first["solution"] == wrong


def test_brackets_stand_only_where_they_are_needed():
    import random

    for number in range(300):
        rng = random.Random(number)
        made = attempt(rng, [2, 3, 5, 7], 198)
        assert evaluate_expression(made.expression)[0] == made.value
        for i, c in enumerate(made.expression):
            if c != "(":
                continue
            depth = end = 0
            for end in range(i, len(made.expression)):
                depth += {"(": 1, ")": -1}.get(made.expression[end], 0)
                if depth == 0:
                    break
            without = made.expression[:i] + made.expression[i + 1 : end] + made.expression[end + 1 :]
            changed = evaluate_expression(without)[0] != made.value
            # 7*(6/3) is 7*6/3 as well: brackets around a quotient that multiplies are kept.
            assert changed or made.expression[i - 1] in "*/-" or made.expression[end + 1 : end + 2] in ("*", "/")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("countdown") / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows_of(200)))
    return path


@pytest.fixture
def small(data):
    torch.set_num_threads(1)
    return new_base(make_tokenizer([]), 0, width=32, layers=2, heads=2, context=192)


def test_the_tokenizer_gives_back_what_it_read_and_prompts_are_short(small, data, tmp_path):
    save_base(small, tmp_path / "base")
    base = BaseModel.load(str(tmp_path / "base"), "cpu", "float32")
    for tokenizer in (small.tokenizer, base.tokenizer):
        for text in [*(r["solution"] for r in rows_of(50)), "a  b ,, \\boxed{1}\n\n é"]:
            want = text.replace("é", "<unknown>")
            assert tokenizer.decode(encode(tokenizer, text)) == want
        row = rows_of(1)[0]
        assert len(prompt_tokens(tokenizer, Problem.from_text("", "countdown", row))) < 20
    assert base.end_ids == {0}
    tokens = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(base.hidden(tokens), small.hidden(tokens), atol=1e-5, rtol=1e-4)


def test_the_loss_starts_at_the_numbers_and_ends_with_the_end_token(small, data):
    corpus = load_corpus([data], small.tokenizer, small.end_id, 192)
    for document in corpus.documents[:20]:
        assert small.tokenizer.decode(list(document.tokens[: document.start])).endswith("Use the numbers ")
        text = small.tokenizer.decode(list(document.tokens[document.prompt :]))
        assert text.endswith(("}<end>", "\nno<end>"))


def test_a_small_base_learns_and_resumes_to_the_same_weights(data, tmp_path):
    def run(name: str, resume: bool = False, stop: int | None = None) -> tuple[torch.Tensor, list[float]]:
        base = new_base(make_tokenizer([]), 0, width=32, layers=2, heads=2, context=192)
        corpus = load_corpus([data], base.tokenizer, base.end_id, 192)
        learner = BaseLearner(base, corpus.documents, 2048)
        losses = []

        def progress(done: int, total: int, metrics: dict[str, float]) -> None:
            losses.append(metrics["ce"])
            if done == stop:
                raise KeyboardInterrupt

        plan = [batches(corpus.documents, range(180), 4096, 0, epoch) for epoch in range(5)]
        loop = LoopConfig(lr=1e-2, warmup_steps=2, save_every=6, log_every=1)
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                TrainRun(tmp_path / name, {"config": {}}, resume), base.model, learner.parameters(), loop,
                plan.__getitem__, 5, learner.accumulate, lambda: learner.evaluate(range(180, 200)), progress,
            )  # fmt: skip
        return torch.cat([p.detach().flatten() for p in learner.parameters()]), losses

    whole, losses = run("whole")
    assert losses[0] > 4.3
    assert losses[-1] < losses[0] - 1
    run("cut", stop=8)
    assert torch.equal(run("cut", resume=True)[0], whole)


@pytest.mark.parametrize(("width", "heads"), [(16, 2), (64, 2), (192, 6), (256, 8)])
def test_the_mlps_are_in_eights_and_nearly_as_wide_as_llama_s(width, heads):
    base = new_base(make_tokenizer([]), 0, width=width, layers=1, heads=heads, context=64)
    wide = base.model.config.intermediate_size
    assert wide % 8 == 0
    assert 0 <= width * 8 / 3 - wide < 8


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="width 30 and 4 heads"):
        new_base(make_tokenizer([]), 0, width=30, layers=1, heads=4, context=64)
