"""The small verifiers: format, choice, numeric, composite, value; adapters and registry."""

import math
import pickle

import pytest

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers import (
    CheckableVerifier,
    GoldVerifier,
    Verdict,
    checkable_verifier,
    get_verifier,
    gold_verifier,
    is_checkable,
)
from colasearch.verifiers.adapters import completion_text, scorer, trl_reward
from colasearch.verifiers.choice import Choice
from colasearch.verifiers.composite import Composite
from colasearch.verifiers.countdown import Countdown
from colasearch.verifiers.format import Format
from colasearch.verifiers.math import Math
from colasearch.verifiers.numeric import Numeric
from colasearch.verifiers.registry import VERIFIERS
from colasearch.verifiers.value import AGGREGATES, ValueVerifier, steps

PROBLEM = Problem.from_text("What is it?")
COUNTDOWN = Problem(id="c", text="", task="countdown", data={"numbers": [1, 2, 8], "target": 24})


def gold(answer: str) -> LabelledProblem:
    return LabelledProblem(PROBLEM, answer)


@pytest.mark.parametrize(
    ("style", "text", "reward"),
    [
        ("boxed", r"so \boxed{4}", 1.0),
        ("boxed", r"so \boxed{4} or \boxed{5}", 0.0),
        ("boxed", r"so \boxed{}", 0.0),
        ("boxed", "so 4", 0.0),
        ("think", "<think>hm</think> 4", 1.0),
        ("think", "<think>hm</think>", 0.0),
        ("think", "<think><think>hm</think> 4", 0.0),
        ("think", "4 <think>hm</think> 4", 0.0),
        ("think-answer", "<think>hm</think>\n<answer>4</answer>", 1.0),
        ("think-answer", "<think>hm</think> it is <answer>4</answer>", 0.0),
        ("think-answer", "<think>hm</think><answer> </answer>", 0.0),
        ("think-answer", "<think>hm</think><answer>4</answer> bye", 0.0),
        ("think-answer", "<answer>4</answer><think>hm</think>", 0.0),
        ("think-answer", "", 0.0),
    ],
)
def test_format(style: str, text: str, reward: float) -> None:
    verdict = Format(style).score(PROBLEM, text)
    assert verdict.reward == reward, verdict


def test_format_names_its_styles() -> None:
    with pytest.raises(InputError, match=r"'xml'.*think-answer"):
        Format("xml")


@pytest.mark.parametrize(
    ("answer", "text", "reward"),
    [
        ("B", "The answer is (B).", 1.0),
        ("(b)", r"\boxed{B}", 1.0),
        ("B", "A or B? I take A", 0.0),
        ("B", "no idea", 0.0),
        ("42", "B", None),
    ],
)
def test_choice(answer: str, text: str, reward: float | None) -> None:
    assert Choice().score(gold(answer), text).reward == reward


@pytest.mark.parametrize(
    ("answer", "text", "reward", "options"),
    [
        ("9.81", "about 9.8 m/s", 1.0, {}),
        ("9.81", "about 9.6", 0.0, {}),
        ("100", "the answer is 101", 1.0, {}),
        ("100", "the answer is 101.5", 0.0, {}),
        ("100", "the answer is 101.5", 1.0, {"absolute": 2.0}),
        ("0.05", r"\boxed{5\%}", 1.0, {}),
        ("5", r"\boxed{5\%}", 1.0, {}),
        ("5", r"\boxed{5\%}", 0.0, {"percent": "hundredth"}),
        ("0.05", r"\boxed{5\%}", 0.0, {"percent": "unit"}),
        ("3 m", r"\boxed{3\text{ cm}}", 0.0, {}),
        (r"3\text{ cm}", r"\boxed{3}", 1.0, {}),
        (r"3\text{ cm}", r"\boxed{3}", 0.0, {"need_unit": True}),
        (r"\sqrt{2}", "1.41", 1.0, {}),
        ("-5", "5", 0.0, {}),
        ("0", "0.0001", 0.0, {}),
        ("0", "0.0001", 1.0, {"absolute": 1e-3}),
        ("1e999999999", "5", None, {}),
        ("5", "9^{9^{9^9}}", 0.0, {}),
        ("Paris", "5", None, {}),
        ("5", "Paris", 0.0, {}),
    ],
)
def test_numeric(answer: str, text: str, reward: float | None, options: dict[str, float]) -> None:
    verdict = Numeric(**options).score(gold(answer), text)  # type: ignore[arg-type]
    assert verdict.reward == reward, verdict


def test_numeric_options_are_checked() -> None:
    with pytest.raises(InputError, match="-1"):
        Numeric(relative=-1)
    with pytest.raises(InputError, match="sometimes"):
        Numeric(percent="sometimes")


def test_composite_weighs() -> None:
    both = Composite([(Math(), 3.0), (Format("boxed"), 1.0)])
    assert not both.checkable
    rewards = [both.score(gold("4"), text).reward for text in (r"\boxed{4}", "4", r"\boxed{5}", "5")]
    assert rewards == [1.0, 0.75, 0.25, 0.0]
    assert both.score(gold(""), r"\boxed{4}").reward is None
    assert "math: equal; format: well-formed" in both.score(gold("4"), r"\boxed{4}").reason


def test_composite_of_checkable_parts_is_checkable() -> None:
    parts = Composite([(Countdown(), 0.9), (Format("boxed"), 0.1)])
    assert parts.checkable
    assert parts.score(COUNTDOWN, r"\boxed{(1+2)*8}").reward == pytest.approx(1.0)
    assert parts.score(COUNTDOWN, "(1+2)*8").reward == pytest.approx(0.9)


def test_composite_hides_the_gold_answer_from_checkable_parts() -> None:
    class Spy:
        checkable = True

        def score_batch(self, items: list[tuple[Problem, str]]) -> list[Verdict]:
            assert all(type(problem) is Problem for problem, _ in items)
            return [Verdict(1.0, "") for _ in items]

    assert Composite([(Spy(), 1.0), (Math(), 1.0)]).score(gold("4"), "4").reward == 1.0


@pytest.mark.parametrize("weights", [[], [0.0], [1.0, -1.0]])
def test_composite_weights_are_checked(weights: list[float]) -> None:
    with pytest.raises(InputError):
        Composite([(Math(), w) for w in weights])


def test_value_aggregates_over_steps() -> None:
    table = {"a": 0.5, "a\nb": 0.8, "a\nb\nc": 0.6}
    calls: list[int] = []

    def values(problems: list[str], texts: list[str]) -> list[float]:
        calls.append(len(texts))
        assert set(problems) == {"What is it?"}
        return [table[t] for t in texts]

    want = {"last": 0.6, "min": 0.5, "mean": 1.9 / 3, "product": 0.24}
    assert set(want) == set(AGGREGATES)
    for aggregate, reward in want.items():
        verifier = ValueVerifier(values, aggregate)  # type: ignore[arg-type]
        assert verifier.score(PROBLEM, "a\nb\nc").reward == pytest.approx(reward)
    verifier = ValueVerifier(values, "min")  # type: ignore[arg-type]
    calls.clear()
    assert [v.reward for v in verifier.score_batch([(PROBLEM, "a\nb"), (PROBLEM, "a")])] == [0.5, 0.5]
    assert calls == [3]  # one call for the whole batch
    assert verifier.process_rewards([(PROBLEM, "a\nb")]) == [[0.5, 0.8]]


def test_value_of_nan_says_nothing() -> None:
    assert ValueVerifier(lambda p, t: [math.nan] * len(t)).score(PROBLEM, "a").reward is None
    assert ValueVerifier(lambda p, t: [7.0] * len(t)).score(PROBLEM, "a").reward == 1.0


def test_value_function_must_answer_for_each_text() -> None:
    with pytest.raises(ValueError, match="2 values for 1"):
        ValueVerifier(lambda p, t: [0.1, 0.2]).score(PROBLEM, "a")


def test_steps_end_with_the_whole_text() -> None:
    assert steps("a\n\nb\n") == ["a", "a\n\nb", "a\n\nb\n"]
    assert steps("") == [""]


def test_registry() -> None:
    for task in VERIFIERS:
        verifier = get_verifier(task)
        assert verifier.checkable == is_checkable(task)
        pickle.loads(pickle.dumps(verifier))
    checkable: CheckableVerifier = checkable_verifier("countdown", use_all=True)
    assert checkable.score(COUNTDOWN, "8*2+8").reward == 0.1
    strict: GoldVerifier = gold_verifier("math", deadline_s=0.5)
    assert strict.score(gold("4"), "4").reward == 1.0
    with pytest.raises(InputError, match="needs the gold answer"):
        checkable_verifier("math")
    with pytest.raises(InputError, match="takes no gold answer"):
        gold_verifier("countdown")
    with pytest.raises(InputError, match=r"'chess'.*countdown"):
        get_verifier("chess")


def test_plain_scorer() -> None:
    score = scorer(Math(), gold("4"))
    assert score(["4", "5", r"\boxed{\frac{8}{2}}"]) == [1.0, 0.0, 1.0]
    assert math.isnan(scorer(Math(), gold(""))(["4"])[0])
    assert scorer(Countdown(), LabelledProblem(COUNTDOWN, ""))(["(1+2)*8"]) == [1.0]
    with pytest.raises(InputError, match="needs a gold answer"):
        scorer(Math(), PROBLEM)


def message(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_trl_reward_of_a_gold_verifier() -> None:
    reward = trl_reward(Math())
    assert reward.__name__ == "math_reward"
    prompts = [[{"role": "user", "content": "2+2?"}]] * 3
    completions = [message("4"), message("5"), message("4")]
    got = reward(prompts=prompts, completions=completions, completion_ids=[[1], [2], [3]], solution=["4", "4", ""])
    assert got == [1.0, 0.0, None]
    assert reward(prompts=["q"], completions=["4"], answer=["4"], trainer_state=object()) == [1.0]
    with pytest.raises(InputError, match="gold_column"):
        reward(prompts=["q"], completions=["4"], label=["4"])


def test_trl_reward_of_a_checkable_verifier() -> None:
    reward = trl_reward(Countdown(), task="countdown", name="reach")
    assert reward.__name__ == "reach"
    got = reward(["p", "p"], ["(1+2)*8", "1+2"], numbers=[[1, 2, 8], [1, 2, 8]], target=[24, 24])
    assert got == [1.0, 0.1]


def test_completion_text() -> None:
    assert completion_text("a") == "a"
    assert completion_text([]) == ""
    assert completion_text([{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]) == "ab"
