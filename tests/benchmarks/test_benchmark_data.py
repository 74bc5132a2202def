"""Sources of benchmarks: pins, conversion of rows, jsonl files, generated sets."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colasearch.benchmarks.data_sets import countdown, game24, gym, registry
from colasearch.benchmarks.data_sets import load as data
from colasearch.benchmarks.data_sets.base import Hub, Item, items_sha256, make_item, selected_sha256
from colasearch.benchmarks.data_sets.load import load, read_items
from colasearch.benchmarks.names import BENCHMARKS
from colasearch.errors import CorruptFileError, InputError
from colasearch.tasks import TASKS
from colasearch.verifiers import checkable_verifier

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_is_whole(name):
    benchmark = registry.get(name)
    assert benchmark.name == name
    assert benchmark.task in TASKS
    assert benchmark.rows is not None
    if isinstance(benchmark.source, Hub):
        assert benchmark.note
        revision = benchmark.source.revision
        assert revision is None or (len(revision) == 40 and int(revision, 16))
    if benchmark.binding:
        assert benchmark.sha256 is not None
    assert f"{benchmark.rows:,}" in BENCHMARKS[name]


def test_an_unknown_benchmark_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"'mmlu'; choose one of aime24, .* or gym:TASK"):
        registry.get("mmlu")
    assert registry.get("gym:chain_sum").task == "procedural"


@pytest.mark.parametrize(
    ("name", "file"),
    [("math500", "math500"), ("gsm8k", "gsm8k_test"), ("aime24", "aime24"), ("svamp", "svamp"), ("game24", "game24")],
)
def test_pinned_hashes_are_those_of_the_copies_at_hand(name, file):
    path = SHARED / f"{file}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there; it is a copy for building and testing only")
    loaded = load(registry.get(name), data=path)
    assert loaded.pinned is True
    assert loaded.remarks == ()
    assert len(loaded.items) == registry.get(name).rows


ROWS = {
    "math500": (
        {"unique_id": "test/a/1.json", "problem": "P", "answer": "3", "subject": "Algebra", "level": 2},
        ("test/a/1.json", "P", "3", "Algebra", "2"),
    ),
    "gsm8k": ({"question": "Q", "answer": "so <<1+1=2>>2\n#### 1,234"}, ("gsm8k-test-00007", "Q", "1234", None, None)),
    "math": (
        {"problem": "P", "solution": r"thus $\boxed{\frac{1}{2}}$.", "type": "Algebra", "level": "Level 5"},
        ("math-test-00007", "P", r"\frac{1}{2}", "Algebra", "5"),
    ),
    "aime24": ({"id": 60, "problem": "P", "answer": "033"}, ("aime24-60", "P", "33", None, None)),
    "aime25": ({"problem": "P", "answer": "70"}, ("aime25-07", "P", "70", None, None)),
    "amc23": ({"id": 3, "question": "Q", "answer": 27.0}, ("amc23-3", "Q", "27", None, None)),
    "minerva": ({"question": "Q", "answer": "2"}, ("minerva-007", "Q", "2", None, None)),
    "olympiadbench": (
        {"id": 9, "question": "Q", "final_answer": ["1", "2"], "subfield": "Algebra"},
        ("olympiadbench-9", "Q", "1, 2", "Algebra", None),
    ),
    "svamp": (
        {"ID": "chal-1", "Body": "He has 2", "Question": "How many?", "Answer": "2.0", "Type": "Addition"},
        ("svamp-chal-1", "He has 2. How many?", "2", "Addition", None),
    ),
    "asdiv": (
        {"body": "B.", "question": "Q?", "answer": "9 (apples)", "solution_type": "Sum"},
        ("asdiv-0007", "B. Q?", "9", "Sum", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ROWS))
def test_rows_of_the_hub_become_items(name):
    row, expected = ROWS[name]
    source = registry.get(name).source
    assert isinstance(source, Hub)
    item = source.convert(row, 7, source.configs[0])
    assert (item.problem.id, item.problem.text, item.labelled.gold, item.subject, item.level) == expected
    assert item.problem.task == registry.get(name).task


def test_unsolvable_sets_of_24_are_left_out_and_the_rest_use_all_numbers():
    convert = game24.BENCHMARK.source.convert
    assert convert({"numbers": [1, 1, 1, 1], "solvable": False}, 0, None) is None
    item = convert({"numbers": [4, 6, 1, 1], "solvable": True}, 0, None)
    verifier = checkable_verifier("countdown")
    assert not verifier.score(item.problem, r"\boxed{4*6}").correct
    assert verifier.score(item.problem, r"\boxed{4*6*1*1}").correct


@functools.cache
def reachable(numbers: tuple[int, ...]) -> frozenset[int]:
    """What all of the sorted ``numbers`` together make through whole positive numbers, by trying everything."""
    if len(numbers) == 1:
        return frozenset(numbers)
    found: set[int] = set()
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in {tuple(numbers[i] for i in c) for c in combinations(range(len(numbers)), size)}:
            rest = list(numbers)
            for number in chosen:
                rest.remove(number)
            for a, b in product(reachable(chosen), reachable(tuple(rest))):
                found |= {a + b, a * b, abs(a - b)}
                found |= {max(a, b) // min(a, b)} if max(a, b) % min(a, b) == 0 else set()
    return frozenset(found - {0})


COUNTDOWNS = {
    "countdown": ({3, 4}, range(10, 100), 500),
    "countdown-5": ({5}, range(10, 100), 40),
    "countdown-hard": ({5, 6}, range(100, 1000), 10),
}
"""Numbers given, targets, and how many problems are solved by trying everything."""


@functools.cache
def made(name: str) -> list[Item]:
    """The problems of a generated benchmark, made once: that takes seconds."""
    return load(registry.get(name)).items


@pytest.mark.parametrize("name", sorted(COUNTDOWNS))
def test_generated_countdown_is_pinned_solvable_and_without_repeats(name):
    sizes, targets, tried = COUNTDOWNS[name]
    benchmark = registry.get(name)
    items = made(name)
    assert len(items) == benchmark.rows == 500
    assert items_sha256(items) == benchmark.sha256
    assert len({i.problem.id for i in items}) == len({str(i.problem.data) for i in items}) == len(items)
    given = [len(i.problem.data["numbers"]) for i in items]
    assert {size: given.count(size) for size in sizes} == dict.fromkeys(sizes, 500 // len(sizes))
    for item in items:
        numbers, target = item.problem.data["numbers"], item.problem.data["target"]
        assert target in targets
        assert target not in numbers
        assert all(1 <= n <= 99 for n in numbers)
    small = [i for i in items if len(i.problem.data["numbers"]) == min(sizes)] if name == "countdown-hard" else items
    for item in random.Random(0).sample(small, tried):
        assert item.problem.data["target"] in reachable(tuple(sorted(item.problem.data["numbers"])))


@pytest.mark.parametrize("name", sorted(COUNTDOWNS))
def test_generated_countdown_shares_no_numbers_and_no_target_with_training(name):
    from colasearch.training.generated.countdown import CountdownConfig, countdown_rows, split_of

    problems = [i.problem.data for i in made(name)]
    assert {split_of(p["numbers"], p["target"]) for p in problems} == {"heldout"}
    sizes, targets, _ = COUNTDOWNS[name]
    # As training makes them, and as it would for this set's own sizes and targets.
    own = CountdownConfig(sizes=tuple(sizes), targets=(targets[0], targets[-1]), last=999)
    rows = [r for seed in (0, 1) for c in (CountdownConfig(), own) for r in countdown_rows(400, seed, config=c)]
    assert {tuple(sorted(p["numbers"])) for p in problems}.isdisjoint(tuple(sorted(r["numbers"])) for r in rows)
    assert {p["target"] for p in problems}.isdisjoint(r["target"] for r in rows)


@pytest.mark.parametrize("held_out", [False, True])
def test_the_other_countdown_asks_for_every_number_and_can_keep_to_what_training_lacks(held_out):
    from colasearch.benchmarks.measurements.other_countdown import problems, results
    from colasearch.training.generated.countdown import split_of

    assert results((2, 3)) == {1, 5, 6}
    assert results((1, 2, 4)) >= {8, 2, 7, 3, 5, 6, 12, 9}
    rows = list(problems(60, 3, held_out=held_out))
    assert rows == list(problems(60, 3, held_out=held_out))
    assert [len(row["numbers"]) for row in rows] == [3, 4] * 30
    assert {row["use"] for row in rows} == {"all"}
    for row in rows:
        assert row["target"] in reachable(tuple(sorted(row["numbers"])))
        assert 10 <= row["target"] <= 99
        assert row["target"] not in row["numbers"]
    splits = [split_of(row["numbers"], row["target"]) for row in rows]
    assert (set(splits) == {"heldout"}) == held_out


def test_making_countdown_problems_loads_no_model_library():
    code = (
        "import sys; from colasearch.benchmarks.data_sets import countdown; countdown.BENCHMARK.source()\n"
        "print([m for m in ('torch', 'transformers', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_generator_that_changed_is_refused():
    from dataclasses import replace

    others = [*made("countdown")[:-1], made("countdown-5")[-1]]
    changed = replace(countdown.BENCHMARK, source=lambda: others)
    with pytest.raises(CorruptFileError, match="do not make the same problems"):
        load(changed)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_jsonl_file_takes_the_place_of_the_source(tmp_path):
    path = write(
        tmp_path / "mine.jsonl",
        {"problem": "a\u2028b", "answer": 3},
        "",
        {"id": 7, "problem": "c", "answer": "x", "level": 4},
    )
    loaded = load(registry.get("math500"), data=path)
    assert [(i.problem.id, i.labelled.gold, i.level) for i in loaded.items] == [
        ("mine-00001", "3", None),
        ("7", "x", "4"),
    ]
    assert loaded.pinned is False
    assert "are not the math500 rows" in loaded.remarks[0]


@pytest.mark.parametrize(
    ("rows", "task", "says"),
    [
        (["{"], "math", "line 1 is not valid JSON"),
        (["[]"], "math", "has no rows"),
        (["[[1]]"], "math", "row 1 is a JSON list"),
        (['{"problem": "a", "answer": NaN}'], "math", 'line 1 has the "answer" nan'),
        ([{"problem": "a", "answer": 1}, '{"problem": "b", "answer": 1e999}'], "math", 'line 2 has the "answer" inf'),
        ([{"problem": "a", "answer": "NaN"}], "math", "which is no answer"),
        ([{"problem": "a", "solution": "It is 5."}], "math", 'no "answer"'),
        ([{"answer": "1"}], "math", 'no text "problem"'),
        ([{"problem": "a"}], "math", 'no "answer"'),
        ([{"problem": "a", "answer": True}], "math", 'no "answer"'),
        (
            [{"id": 1, "problem": "a", "answer": 1}, {"id": "1", "problem": "b", "answer": 1}],
            "math",
            "'1' of .* line 1",
        ),
        ([{"problem": "a", "answer": 1}], "countdown", '"numbers" and "target"'),
        ([{"numbers": [1, 2.5], "target": 3}], "countdown", '"numbers" and "target"'),
        ([], "math", "has no rows"),
    ],
)  # fmt: skip
def test_unusable_rows_are_refused_with_their_line(tmp_path, rows, task, says):
    with pytest.raises(InputError, match=says):
        read_items(write(tmp_path / "d.jsonl", *rows), task)


def test_a_missing_file_is_unusable_input(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_items(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        read_items(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        read_items(tmp_path / "latin")


def test_limit_and_shuffle_seed_choose_problems(sums):
    svamp = registry.get("svamp")
    ids = [i.problem.id for i in load(svamp, data=sums).items]
    assert [i.problem.id for i in load(svamp, data=sums, limit=3).items] == ids[:3]
    shuffled = load(svamp, data=sums, shuffle_seed=1)
    assert sorted(i.problem.id for i in shuffled.items) == sorted(ids)
    assert [i.problem.id for i in shuffled.items] != ids
    assert [i.problem.id for i in load(svamp, data=sums, shuffle_seed=1, limit=4).items] == [
        i.problem.id for i in shuffled.items[:4]
    ]
    assert shuffled.sha256 == load(svamp, data=sums).sha256
    assert shuffled.selected_sha256 != load(svamp, data=sums).selected_sha256
    with pytest.raises(InputError, match="--limit is 9"):
        load(svamp, data=sums, limit=9)
    assert [i.problem.id for i in load(svamp, data=sums, skip=1, limit=2).items] == ids[1:3]
    assert [i.problem.id for i in load(svamp, data=sums, skip=1).items] == ids[1:]
    with pytest.raises(InputError, match="after the 2 that --skip leaves out"):
        load(svamp, data=sums, skip=2, limit=len(ids) - 1)
    with pytest.raises(InputError, match=f"--skip is {len(ids)}"):
        load(svamp, data=sums, skip=len(ids))


texts = st.text(min_size=1, max_size=6)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), st.randoms())
def test_the_hash_sees_every_change_but_order_and_ids(rows, rng):
    items = [make_item(str(i), text, gold) for i, (text, gold) in enumerate(rows)]
    mixed = [
        make_item(f"other{i}", i_.problem.text, i_.labelled.gold) for i, i_ in enumerate(rng.sample(items, len(items)))
    ]
    assert items_sha256(mixed) == items_sha256(items)
    changed = [*items[:-1], make_item("x", items[-1].problem.text, items[-1].labelled.gold + "1")]
    assert items_sha256(changed) != items_sha256(items)
    assert items_sha256(items[:-1]) != items_sha256(items)
    assert selected_sha256(items) == selected_sha256(list(items))


def test_the_loose_hash_leaves_out_blanks_and_full_stops_only():
    def digest(text: str) -> str:
        return items_sha256([make_item("a", text, "1")], loose=True)

    assert digest("He has 2. How many?") == digest("He has 2 . How  many?")
    assert digest("He has 2. How many?") != digest("He has 3. How many?")
    assert hashlib.sha256(b"").hexdigest() != digest("")


def test_reasoning_gym_is_a_source():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed: pip install '.[gym]'")
    loaded = load(gym.benchmark("chain_sum"), limit=3)
    assert [i.problem.task for i in loaded.items] == ["procedural"] * 3
    assert load(gym.benchmark("chain_sum"), limit=3).selected_sha256 == loaded.selected_sha256


def test_groups_are_those_that_the_data_has(sums):
    items = read_items(sums)
    assert data.group_names(items) == {"subject": ["a", "b"], "level": ["1", "2", "3"]}
    assert data.group_names([make_item("a", "b", "c")]) == {}


MIXED = [
    {"question": "How many are left?", "answer": "24-5=<<24-5=19>>19 are left.\n#### 1,019"},
    {"problem": "Compute 2+3.", "level": "Level 1", "type": "Algebra", "solution": "\\boxed{4}? No, \\boxed{5}."},
    {"prompt": "Compute 7*8.", "final_answer": 56},
    {"text": "Compute 1+1.", "gold": "2"},
]


@pytest.mark.parametrize("form", ["jsonl", "array", "bom"])
def test_rows_of_any_hand_are_read_alike(tmp_path, form):
    text = json.dumps(MIXED, indent=1) if form == "array" else "".join(json.dumps(r) + "\n" for r in MIXED)
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf" * (form == "bom") + text.encode())
    items = read_items(path)
    assert [i.labelled.gold for i in items] == ["1019", "5", "56", "2"]
    assert [i.problem.text for i in items] == ["How many are left?", "Compute 2+3.", "Compute 7*8.", "Compute 1+1."]
    assert (items[1].subject, items[1].level) == ("Algebra", "Level 1")


def test_csv_with_a_header_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('question,answer,level\n"How many, all told?","19\n#### 1,019",\nCompute 2+3.,5,Level 1\n')
    found = [(i.problem.text, i.labelled.gold, i.level) for i in read_items(path)]
    assert found == [("How many, all told?", "1019", None), ("Compute 2+3.", "5", "Level 1")]


@pytest.mark.parametrize(
    ("text", "says"),
    [("a,b\n1,2\n", "has the columns a, b"), ("question,answer\nx\n", "line 2 has not 2 cells"), ("", "columns none")],
)
def test_unusable_csv_is_refused(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        read_items(tmp_path / "t.csv")
