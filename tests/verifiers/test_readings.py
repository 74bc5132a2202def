"""Near misses by kind of reading: what a text says where one word, sign or letter makes another answer of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from colasearch.benchmarks.data_sets.countdown import BENCHMARK, RULE_ALL, RULE_SOME, with_rule
from colasearch.benchmarks.data_sets.load import load
from colasearch.cli.verify import command
from colasearch.problem import LabelledProblem, Problem
from colasearch.tasks import prompt_text
from colasearch.verifiers import engine, extract_answer
from colasearch.verifiers.compare import compare, for_worker
from colasearch.verifiers.countdown import Countdown
from colasearch.verifiers.engine import judge
from colasearch.verifiers.math import Math
from colasearch.verifiers.pool import WorkerPool

READINGS: dict[str, list[tuple[str, str, bool]]] = {
    'amounts in words': [
        ('5000000', 'The answer is five million.', True),
        ('5', 'The answer is five million.', False),
        ('250000', 'The town has a quarter of a million people, so the answer is a quarter of a million people.', True),
        ('2500000', 'The answer is 2.5 million.', True),
        ('24', 'The answer is two dozen eggs.', True),
        ('2', 'so she buys 2 dozen eggs in all', False),
        ('24', 'so she buys 2 dozen eggs in all', True),
        ('5', 'They spent 5 million dollars on it and then left', False),
        ('7', '#### 7 hundred', False),
        ('700', '#### 7 hundred', True),
        ('3500', '\\boxed{3.5\\text{ thousand}}', True),
        ('3.5', '\\boxed{3.5\\text{ thousand}}', False),
        ('5', '\\boxed{5\\text{ thousandths}}', False),
        ('0.005', '\\boxed{5\\text{ thousandths}}', True),
        ('2.5', '\\boxed{2\\text{ and a half}}', True),
        ('2', '\\boxed{2\\text{ and a half}}', False),
        ('2.5', '\\boxed{2 and a half hours}', True),
        ('2', 'The answer is 2 and a half hours.', False),
        ('2.75', 'The answer is two and three quarters.', True),
        ('3.5', '3 and 1/2', True),
        ('3', '\\boxed{3 and 1/2}', False),
        ('3, 1/2', '\\boxed{3 and 1/2}', True),
        ('3.5', '\\boxed{3, 1/2}', False),
        ('1/2', '\\boxed{3 and 1/2}', False),
        ('25', '\\boxed{5\\text{ squared}}', True),
        ('5', '\\boxed{5\\text{ squared}}', False),
        ('x^2', '\\boxed{x\\text{ squared}}', True),
        ('x', '\\boxed{x\\text{ squared}}', False),
        ('16', '\\boxed{16\\text{ cm squared}}', True),
        ('16', '\\boxed{16\\text{ square cm}}', True),
        ('33.5\\%', '\\boxed{33.5 pct}', True),
        ('33.5', '33.5 pct', True),
        ('11111100', '\\boxed{11,\\! 111,\\! 100}', True),
        ('11', '\\boxed{11,\\! 111,\\! 100}', False),
        ('5', '\\boxed{\\frac{dy}{dx}=5}', True),
        ("y'=2x", '\\boxed{\\frac{dy}{dx}=2x}', False),
        ('2', '\\text{The answer is }2', True),
        ('5', '5m', False),
        ('12', '12k', False),
        ('12000', '12K', True),
        ('1.5', '1.5bn', False),
        ('1500000000', '1.5bn', True),
        ('5', '\\boxed{5 half}', False),
        ('3', 'three quarters', False),
        ('1', 'one third', False),
        ('1/3', 'one third', True),
        ('1', 'one half', False),
        ('10', 'ten', True),
        ('1/10', 'one tenth', True),
        ('125', 'one hundred twenty-five', True),
        ('100', 'one hundred twenty-five', False),
        ('120', 'a hundred and twenty', True),
        ('20', 'The answer is twenty five.', False),
        ('25', 'The answer is twenty five.', True),
    ],
    'upright letters and units': [
        ('2', '\\boxed{2\\mathrm{x}}', False),
        ('2e', '\\boxed{2\\mathrm{e}}', True),
        ('5', '\\boxed{5\\,\\mathrm{m}}', True),
        ('5', '\\boxed{5\\,\\mathrm{cm}}', True),
        ('5', '\\boxed{5\\mathrm{cm}}', True),
        ('5', '\\boxed{5\\text{ m}}', True),
        ('5', '\\boxed{5~\\mathrm{kg}}', True),
        ('2+3i', '\\boxed{2+3\\mathrm{i}}', True),
        ('3', '\\boxed{3\\mathrm{i}}', False),
    ],
    'left sides': [
        ('\\lim_{x\\to0} f(x)=2', '\\boxed{\\lim_{x\\to0} f(x)=3}', False),
        ('\\lim_{x\\to0} f(x)=2', '\\boxed{\\lim_{x\\to1} f(x)=2}', False),
        ('\\operatorname{Re} z=4', '\\boxed{\\operatorname{Im} z=4}', False),
        ('\\sup S', '\\boxed{\\inf S}', False),
        ('\\operatorname{Var}(X)=2', '\\boxed{\\operatorname{E}(X)=2}', False),
        ('E(X)=2', '\\boxed{Var(X)=2}', False),
        ('f(3)=7', '\\boxed{f(6)=14}', False),
        ('f(3)=7', '\\boxed{f(3)=7.0}', True),
        ('P(X=2)=1/2', '\\boxed{P(X=2)=0.5}', True),
        ('f(0)=4', '\\boxed{f(1)=4}', False),
        ('0', '\\boxed{f(0)}', False),
        ('\\|a\\|=3', '\\boxed{\\|b\\|=3}', False),
        ('7', '\\boxed{x^2=7}', False),
        ('0', '\\boxed{x^2-5x=0}', False),
        ('0', '\\boxed{f(3)=0}', True),
        ('4', '\\boxed{x^2=4}', False),
        ('7', '\\boxed{\\log_2 x=7}', True),
        ('7', '\\boxed{x<7}', False),
        ('7', '\\boxed{7=x+y}', False),
        ('0', '\\boxed{ax+by=0}', False),
        ('7', '\\boxed{x=6}', False),
        ('7', '\\boxed{f(7)=6}', False),
        ("f'(x)=1", "\\boxed{f'(x)=1.0}", True),
        ("f''(x)", "\\boxed{f'(x)}", False),
        ('f^{(2)}(x)', '\\boxed{f^{(3)}(x)}', False),
    ],
    'rates': [
        ('P(X=2)=1/2', '\\boxed{P(X=3)=1/2}', False),
        ('40', '\\boxed{40 km per hour}', True),
        ('18', 'The pay is $18 per hour.', True),
        ('18\\text{ dollars per day}', '\\boxed{$18/week}', False),
        ('60 mph', '\\boxed{60\\text{ miles per hour}}', True),
        ('60 miles per hour', '60 km/h', False),
        ('5', '\\boxed{5/x}', False),
        ('5/3', '\\boxed{5/3}', True),
        ('5', '5/day', True),
        ('5', '\\boxed{5/n}', False),
        ('3', '\\boxed{3/pi}', False),
        ('12 pages per hour', '12 pages a day', False),
    ],
    'floors and extrema': [
        ('\\max(1,2)', '\\boxed{2}', True),
        ('\\max(a,b)', '\\boxed{\\min(a,b)}', False),
        ('\\max f', '\\boxed{f}', False),
        ('\\lfloor x\\rfloor', '\\boxed{\\lceil x\\rceil}', False),
        ('\\lfloor x\\rfloor', '\\boxed{x}', False),
        ('\\lfloor x\\rfloor+1', '\\boxed{\\lceil x\\rceil}', False),
        ('\\lfloor x+1\\rfloor', '\\boxed{\\lfloor x\\rfloor+1}', True),
        ('\\lceil -x\\rceil', '\\boxed{-\\lfloor x\\rfloor}', True),
        ('x - \\lfloor x\\rfloor', '\\boxed{\\{x\\}}', False),
        ('\\lfloor n\\rfloor', 'n', True),
        ('n', '\\lfloor n+1/2 \\rfloor', True),
        ('\\lfloor 2y\\rfloor', '\\boxed{2\\lfloor y\\rfloor}', False),
        ('\\lfloor 2n\\rfloor', '2n', True),
        ('maximum 2', 'minimum 2', False),
        ('2', '\\boxed{\\text{maximum: }2}', True),
    ],
    'moduli': [
        ('3 \\pmod 7', '\\boxed{3 \\pmod 5}', False),
        ('3 \\pmod 7', '\\boxed{3}', True),
        ('3', '\\boxed{3 \\pmod 7}', True),
        ('x\\equiv 3\\pmod 7', '\\boxed{x\\equiv 3 \\mod 7}', True),
        ('x\\equiv 3\\pmod 7', '\\boxed{x=3}', False),
        ('x\\equiv 3 (mod 7)', '\\boxed{x\\equiv 3 \\pmod{7}}', True),
        ('x\\equiv 3 (mod 7)', '\\boxed{x\\equiv 3 \\pmod{8}}', False),
        ('n \u2261 1 (mod 4)', '\\boxed{n \u2261 1 (mod 3)}', False),
    ],
    'vectors': [
        ('\\vec a\\times\\vec b', '\\boxed{\\vec b\\times\\vec a}', False),
        ('\\vec a\\times\\vec b', '\\boxed{-\\vec b\\times\\vec a}', True),
        ('\\vec a\\cdot\\vec b', '\\boxed{\\vec b\\cdot\\vec a}', True),
        ('\\vec a\\times\\vec b', '\\boxed{-(\\vec b\\times\\vec a)}', True),
        ('\\mathbf{u}\\times\\mathbf{v}+\\mathbf w', '\\boxed{\\mathbf w+\\mathbf{u}\\times\\mathbf{v}}', True),
        ('2\\vec a\\times\\vec b', '\\boxed{2\\vec b\\times\\vec a}', False),
    ],
    'notation': [
        ('3', '\\boxed{3/alpha}', False),
        ('3/4', 'Rational(3, 4)', True),
        ('10', 'binomial(5, 2)', True),
        ('10', '\\boxed{binomial(5,3)}', True),
        ('4/3', '\\boxed{Rational(3,4)}', False),
        ('\\alpha', 'alpha', True),
        ('\\alpha', 'beta', False),
    ],
    'joined boxes': [
        ('1, 2', '\\boxed{1}; \\boxed{2}', True),
        ('1, 2', '* $\\boxed{1}$\n* $\\boxed{2}$', True),
        ('1, 2', '\\boxed{1}, \\boxed{3}', False),
        ('1, 2', 'Step one gives \\boxed{1}. Next we add and find \\boxed{2}', False),
        ('1,2,3', '\\boxed{1}\n\\boxed{2}\nand\n\\boxed{3}', True),
    ],
    'invisible and full-width characters': [
        ('1\u200b2', '12', True),
        ('12', '\uff11\uff12', True),
        ('-3', '\uff0d3', True),
        ('6', '2\u20623', True),
    ],
    'domains': [
        ('x=2k\\pi', 'x=2k\\pi, k\\in\\mathbb{Z}', True),
        ('x=2k\\pi, k\\in\\mathbb{N}', 'x=2k\\pi, k\\in\\mathbb{Z}', False),
    ],
}  # fmt: skip
"""Kind: (gold answer, text, whether it answers the gold one)."""


@pytest.mark.parametrize("kind", READINGS)
def test_readings(kind: str) -> None:
    math = Math()
    wrong = []
    for gold, text, right in READINGS[kind]:
        verdict = math.score(LabelledProblem(Problem.from_text("?"), gold), text)
        if (verdict.reward == 1.0) != right:
            wrong.append((gold, text, verdict))
    assert wrong == []


CHOICES: list[tuple[str, str | None]] = [
    ('The answer is (C).', 'C'),
    ('I think the answer is B because A is too small.', 'B'),
    ('A', 'A'),
    ('(a)', 'A'),
    ('b', 'B'),
    ('The answer is A.', 'A'),
    ('The answer is A because it fits.', 'A'),
    ('A circle is round.', None),
    ('I am sure.', None),
    ('I', 'I'),
    ('The answer is I.', 'I'),
    ('Answer: D', 'D'),
    ('**Answer: D**', 'D'),
    ('The correct answer is option (E).', 'E'),
    ('A and B are wrong, C is not; D is right.', 'D'),
    ('A is correct.', 'A'),
    ('B is incorrect. C is correct.', 'C'),
    ('Is B correct? No, C is.', 'C'),
    ('Option A is wrong. Option B is wrong. Option C is right.', 'C'),
    ('The answer is either A or B.', None),
    ('The answer is A or B', None),
    ('Both A and C', None),
    ('A, C', None),
    ('\\boxed{A, C}', None),
    ('\\boxed{\\text{(D) 12}}', 'D'),
    ('\\boxed{D. A triangle}', 'D'),
    ('Let A be the set. The answer is C.', 'C'),
    ('We rule out A, B, and D. So C.', 'C'),
    ('Thus, C.', 'C'),
    ('C) because of B', 'C'),
    ('Not A, not B. C it is.', 'C'),
    ('I choose D', 'D'),
    ('I would go with B.', 'B'),
    ('My final choice: B', 'B'),
    ('A: 3, B: 4, C: 5. We choose C', 'C'),
    ('A) 3, B) 4, C) 5', None),
    ('A. No, wait. The answer is C.', 'C'),
    ('C) since A, B are wrong', 'C'),
    ('Final answer: **C**', 'C'),
    ('The answer is not A but D', 'D'),
    ('The answer is not A.', None),
    ("It can't be A, so it must be D.", 'D'),
    ('A. 3\nB. 4\nC. 5\nThe answer is B.', 'B'),
    ('A. 3\nB. 4\nC. 5', None),
    ('Answer: (B) A circle', 'B'),
    ('Answer: A circle', None),
    ('the answer is a', 'A'),
    ('the answer is a circle', None),
    ('The answer is C, not B.', 'C'),
    ('The answer is B. Wait, the answer is D.', 'D'),
    ('B\n', 'B'),
    ('I believe B is the best answer.', 'B'),
    ('E = mc^2, so the answer is B', 'B'),
    ('Since F = ma, D is right.', 'D'),
    ('In case A we get 3, in case B we get 4, so C', 'C'),
    ('\\boxed{12}', None),
    ('$\\boxed{\\textbf{(B)}}$', 'B'),
    ('Choice D', 'D'),
    ('the correct choice is therefore D', 'D'),
    ('Answer is: D) none of these', 'D'),
    ('So the answer would be A, as shown.', 'A'),
    ('Neither A nor B; the answer is D', 'D'),
    ("I'd pick C over A.", 'C'),
    ('C is the only one that works.', 'C'),
    ('D', 'D'),
    ('<answer>C</answer>', 'C'),
    ('A or D? I take D', 'D'),
    ('The letter is J.', 'J'),
    ('12', None),
    ('Answer: A\nExplanation: B is wrong.', 'A'),
    ('A is false. The answer: B', 'B'),
    ('We get x = 5 which is choice (D)', 'D'),
    ('the statement A is true, so option A', 'A'),
    ('Point A lies on line B.', None),
    ("Let's see, B?", None),
    ("The right one is B and I stand by it", "B"),
    ("It must be B; I ruled out A, C and D.", "B"),
    ("Let us see. A fails, C fails, D fails. B holds, as I showed.", "B"),
    ("The answer is neither A nor C but B", "B"),
    ("ans: B. A is wrong.", "B"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "letter"), CHOICES)
def test_letter(text: str, letter: str | None) -> None:
    assert extract_answer(text, "choice") == letter


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{8}. No: \boxed{9", "8"),  # unfinished behind a finished one: the finished one counts
        (r"\boxed{8}. So \boxed{9 is the answer." + "\nBye", "8"),
        (r"\boxed{8}, \boxed{\frac{1}{2", "8"),
        (r"So \boxed{\frac{1}{2", r"\frac{1}{2"),  # the only one
        (r"\boxed{} and then \boxed{7", "7"),
    ],
)
def test_an_unfinished_box(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        ("5(3)+9", 1.0),
        (r"\boxed{5(3)+9}", 1.0),
        ("(5)3+9 = 24", 1.0),
        ("\uff085\uff0a3\uff09\uff0b9", 1.0),
        ("5 \u2715 3 \uff0b 9", 1.0),
        ("[5*3]+9", 1.0),
        ("5(3)+9 = 25", 0.0),
        ("5(9)+3", 0.1),
    ],
)
def test_countdown_products_side_by_side(answer: str, reward: float) -> None:
    problem = Problem(id="p", text="", task="countdown", data={"numbers": [5, 3, 9], "target": 24})
    assert Countdown().score(problem, answer).reward == reward


def test_a_worker_gets_no_left_sides() -> None:
    assert for_worker(r"\lim_{x\to 0} g = \int_0^1 x\,dx", r"\lim_{x\to 0} g = \frac12") == (
        r"\int_0^1 x dx",
        r"\frac12",
    )
    assert compare(r"\lim_{x\to 0} g = \int_0^1 x\,dx", r"\lim_{x\to 1} g = \frac12") is False


@pytest.mark.parametrize(
    ("gold", "pred"),
    [
        (r"\sup S + \int_0^1 2x\,dx", r"\inf S + 1"),
        (r"\int_0^1 f(x)\,dx", r"\int_0^1 f(t)\,dt"),  # right, but nothing is known of f
        (r"\lim_{x\to 0} f(x)", r"\lim_{x\to 0} 2f(x)"),
        (r"\sum_{n=1}^{\infty} a_n", r"\sum_{n=2}^{\infty} a_n"),
    ],
)
def test_what_math_verify_reads_as_letters_is_not_believed(gold: str, pred: str) -> None:
    assert judge([gold, pred])["verdict"] is not True


def test_a_right_integral_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unused(*_: object, **__: object) -> bool:
        raise AssertionError("math-verify was asked for the difference of equal values")

    monkeypatch.setattr(engine, "verify", unused)
    for gold, pred in ((r"\int_0^{\pi}2\sin^4 x\,dx", r"\frac{6\pi}{8}"), ("3", r"\int_0^3 1\,dx")):
        assert judge([gold, pred])["verdict"] is True
    monkeypatch.undo()
    for pred in (r"\frac{5\pi}{8}", r"\frac{6\pi}{8.00001}", "0"):
        assert judge([r"\int_0^{\pi}2\sin^4 x\,dx", pred])["verdict"] is False
    assert judge([r"\int_{-1}^1 x\,dx", "0"])["verdict"] is True


def test_a_countdown_run_under_the_rule_of_every_number_once() -> None:
    data = with_rule(load(BENCHMARK, limit=3), exactly=True)
    assert data.remarks[-1] == RULE_ALL
    assert all("each exactly once" in prompt_text(None, item.problem) for item in data.items)
    partial = with_rule(load(BENCHMARK, limit=3), exactly=False)
    assert partial.remarks[-1] == RULE_SOME
    assert partial.selected_sha256 != data.selected_sha256
    assert [item.problem.id for item in partial.items] == [item.problem.id for item in data.items]


def test_verify_exactly(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 1, "numbers": [4, 6, 5], "target": 24, "pred": "4*6"}\n')
    for options, verdict in (([], "true"), (["--exactly"], "false")):
        result = CliRunner().invoke(command, [str(file), "--task", "countdown", *options])
        assert f'"verdict": {verdict}' in result.output


def test_the_clock_of_an_answer_is_its_workers() -> None:
    with WorkerPool("probe", workers=1, deadline_s=0.3) as pool:
        pool.run([["echo", 1]])
        # Asleep it uses no processor time, as a worker that waits for one: it is killed by the wall clock.
        assert pool.run([["spin", 7]])[0].status == "timeout"
        assert pool.run([["sleep", 60]])[0].status == "timeout"


def test_answers_behind_a_timeout_have_all_of_their_time() -> None:
    with WorkerPool("probe", workers=1, deadline_s=0.4) as pool:
        jobs = [["spin", 7], ["echo", 1], ["spin", 7], ["spin", 7], ["echo", 2]]
        assert [r.status for r in pool.run(jobs)] == ["timeout", "done", "timeout", "timeout", "done"]
