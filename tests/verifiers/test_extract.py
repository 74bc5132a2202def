"""Where the answer stands in a text."""

import time

import pytest

from colasearch.verifiers import extract_answer
from colasearch.verifiers.extract import joined_boxes

MATH = [
    (r"So \boxed{8}, no. \boxed{9}.", "9"),
    (r"Thus $\boxed{\frac{1}{2}}$ is it.", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{ x \mid x > 0 \right.}", r"\left\{ x \mid x > 0 \right."),
    (r"first \boxed{5} then \boxed{} ", "5"),
    (r"\fbox{7}", "7"),
    (r"\boxed 5.", "5"),
    (r"cut off: \boxed{\frac{1}{2", r"\frac{1}{2"),
    (r"\boxed{12} and then, cut: \boxed{3", "12"),
    (r"the answer is 3. \boxed{4}", "4"),
    ("She has 3+4=7.\n#### 7", "7"),
    ("218}", "218"),
    (r"= \frac{1}{2}}", r"= \frac{1}{2}"),
    (r"\{1, 2\}", r"\{1, 2\}"),
    ("#### 1,234\n", "1,234"),
    ("#### $18", "$18"),
    ("#### -5.5%", "-5.5%"),
    ("#### Step 1\nWe add.\nThe answer is 12.", "12"),
    ("#### 2. Compute the sum\nThe answer is 12.", "12"),
    ("The answer is 42.", "42"),
    ("The final answer is $x = 3$. I hope it is correct.", "x = 3"),
    ("**Answer:** 42", "42"),
    ("**Final Answer**: 3/4", "3/4"),
    ("Answer: \\(\\frac{3}{4}\\)", r"\frac{3}{4}"),
    ("The answer is $1$ and $2$, since both fit.", "1, 2"),
    ("The answer is 5 because 3+2 = 5.", "5"),
    ("So the final answer is 10 weeks.", "10 weeks"),
    ("The answer is that she pays 12 dollars for the 3 books.", "12"),
    ("The answer to the question is 3.5", "3.5"),
    ("The answer should be 17, I think.", "17"),
    ("The answer is Monday.", "Monday"),
    ("A: 17", "17"),
    (r"We get $x^2$ and so $y = 2\sqrt{3}$.", r"y = 2\sqrt{3}"),
    ("There are 3 cats and 4 dogs, so 7 pets", "7"),
    ("costs $1,250.75 in all", "$1,250.75"),
    ("-7", "-7"),
    (r"\frac{1}{2}", r"\frac{1}{2}"),
    (r"$\sqrt{2}$", r"\sqrt{2}"),
    ("x^2 + 2x + 1", "x^2 + 2x + 1"),
    ("(1, 2)", "(1, 2)"),
    ("**73**", "73"),
    ("<think>maybe 5, \\boxed{5}</think> It is 6.", "6"),
    ("<think>x</think><answer>\\boxed{11}</answer>", "11"),
    ("<answer> 12 </answer>", "12"),
    ("I do not know, sorry; what could one say to such a thing?", None),
    ("", None),
    ("   \n ", None),
]


@pytest.mark.parametrize(("text", "answer"), MATH)
def test_math_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


COUNTDOWN = [
    ("<think>1+2=3</think><answer>(1+2)*3</answer>", "(1+2)*3"),
    ("We try 5-2, then (4 - 1) * 8 = 24", "(4 - 1) * 8"),
    (r"\boxed{(4-1) \times 8}", "(4-1) * 8"),
    (r"so $\frac{8}{4-2} \cdot 6$", "((8)/(4-2)) * 6"),
    ("Answer: 3 × 8 ÷ 1 − 0", "3 * 8 / 1 - 0"),
    ("3 x 8", "3 * 8"),
    ("<answer>24</answer>", "24"),
    ("no idea", None),
]


@pytest.mark.parametrize(("text", "answer"), COUNTDOWN)
def test_countdown_answer(text: str, answer: str | None) -> None:
    found = extract_answer(text, "countdown")
    assert (found and found.replace(" ", "")) == (answer and answer.replace(" ", ""))


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).", "B"),
        (r"\boxed{\text{C}}", "C"),
        ("A or D? I take D", "D"),
        ("12", None),
        ("**B**", "B"),
    ],
)
def test_choice(text: str, letter: str | None) -> None:
    assert extract_answer(text, "choice") == letter


def test_joined_boxes_need_connectives() -> None:
    assert joined_boxes(r"\boxed{1} and \boxed{2}") == "1, 2"
    assert joined_boxes(r"$\boxed{1}$, $\boxed{2}$, or $\boxed{3}$.") == "1, 2, 3"
    assert joined_boxes(r"\boxed{8} no. \boxed{9}") is None
    assert joined_boxes(r"\boxed{8}") is None


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 20_000,
        r"\boxed{1}" * 20_000,
        "the answer is " * 20_000,
        "$" * 100_000,
        "#### " * 40_000,
        "1," * 100_000,
        "<answer>" * 30_000,
        "\\[" * 50_000,
        "(" * 100_000,
        " " * 200_000 + "x",
        "1" * 200_000,
        "\n" * 200_000 + "a",
        "A: " * 60_000,
    ],
)
@pytest.mark.parametrize("task", ["math", "countdown", "choice"])
def test_extraction_is_linear(text: str, task: str) -> None:
    # CPU time, which other programs on the machine do not add to. Work that grows with the square takes minutes.
    start = time.process_time()
    extract_answer(text, task)
    assert time.process_time() - start < 5.0
