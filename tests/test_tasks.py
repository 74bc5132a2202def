"""Tasks: prompts in every style, files and entry points, verifiers that users bring, columns of other people's rows."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import pytest
from tiny import make_tokenizer

from colasearch import tasks, userfile
from colasearch.benchmarks.harness.samples import Sampler
from colasearch.cluster.recipes import SearchEngine, SearchRecipe
from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.errors import InputError, PrerequisiteError
from colasearch.experiments.recipes.iterations import Iterations, data_files, stages
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import LabelledProblem, Problem
from colasearch.rows import parse_rows
from colasearch.tasks import Task, registry
from colasearch.training.data.documents import Layout
from colasearch.training.data.problems import Reward, load_problems
from colasearch.training.reinforcement.rollout import Roller, RolloutConfig

FILE = """
from colasearch.tasks import Task

def last(text):
    return text.split()[-1] if text.split() else None

def backwards(problem, answer):
    print("looking")
    return answer == problem.data["word"][::-1]

def close(problem, answer, gold):
    return {"near": 0.5, "far": 7, "odd": float("nan")}.get(answer, answer == gold)

turned = Task("turned", "Turn round {word}.", verifier=backwards, answer=last, data=("word", "hint?"))
told = Task("told", verifier=close, answer=last, columns={"problem": "Q", "answer": "A"})
def made():
    return Task("made", lambda problem: [{"role": role, "content": text} for role, text in
                                         (("system", "Hm."), ("user", problem.text))])
nothing = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


class Plain:
    chat_template = None


def prompt(ref, text="2+2?", tokenizer=Plain, **data):
    return tasks.prompt_text(tokenizer, Problem.from_text(text, ref, data))


def test_each_style_lays_out_the_prompt_in_its_way(tmp_path):
    chat = make_tokenizer()
    box = "2+2?\nPut the final answer in \\boxed{}."
    assert prompt("math") == f"Problem: {box}\nSolution: "
    assert prompt("math", tokenizer=chat) == f"<user>{box}</user><solution>"
    assert prompt("math?prompt=plain", tokenizer=chat) == prompt("math")
    asked = "Please reason step by step, and put your final answer within \\boxed{}.\n\n2+2?"
    assert prompt("math?prompt=paper", tokenizer=chat) == f"User: {asked}\nAssistant: "
    assert prompt("math?prompt=think", tokenizer=chat).startswith(f"<user>{box}\nFirst reason between <think> and")
    shots = tmp_path / "shots.jsonl"
    shots.write_text('{"question": "1+1?", "answer": "It is 2. #### 2"}\n{"problem": "3?", "answer": 3}\n')
    few = tasks.settled("math", prompt=f"few-shot:{shots}")
    parts = prompt(few).split("\n\n")
    assert [part.split("\n")[0] for part in parts] == ["Problem: 1+1?", "Problem: 3?", "Problem: 2+2?"]
    assert parts[0].endswith("Solution: It is 2. #### 2")
    assert prompt(few, tokenizer=chat).count("<user>") == 5  # this template says user of every message
    assert list(tasks.hashes_of([few])) == [str(shots)]


def test_the_paper_s_style_has_no_first_token(monkeypatch):
    monkeypatch.setattr("colasearch.tasks.prompts.first_tokens", lambda tokenizer: [999])
    tokenizer = make_tokenizer()
    first = {
        style: tasks.prompt_tokens(tokenizer, Problem.from_text("a", f"math?prompt={style}"))[0]
        for style in ("plain", "paper", "chat")
    }
    assert first["plain"] == 999
    assert 999 not in (first["paper"], first["chat"])


def test_a_text_is_read_up_to_the_next_problem_that_the_model_makes_up():
    text = "It is \\boxed{4}.\nUser: 3+3?\nAssistant: \\boxed{6}"
    assert tasks.answer_of(text, "math?prompt=paper") == "4"
    assert tasks.answer_of(text, "math") == "6"
    right = LabelledProblem(Problem.from_text("2+2?", "math?prompt=paper"), "4")
    assert Reward("math?prompt=paper")([(right, text)]) == [1.0]
    assert Reward("math")([(right, text)]) == [0.0]


def test_thinking_is_paid_for_as_the_style_asks():
    right = LabelledProblem(Problem.from_text("2+2?", "math?prompt=think"), "4")
    texts = ["<think>2 and 2</think><answer>4</answer>", "<think>2 and 2</think><answer>5</answer>", "\\boxed{4}"]
    assert Reward("math?prompt=think", 0.25)([(right, text) for text in texts]) == [1.0, 0.25, 0.75]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"verifier": "maths"}, "'maths'; it must be one of choice"),
        ({"form": "round"}, "form is 'round'"),
        ({"branch_below": 2}, "between 0 and 1"),
        ({"text_tokens": 0}, "at least 1"),
        ({"prompt": "rhyme"}, "'rhyme'; it must be one of chat, plain, paper, think, or few-shot:FILE"),
        ({"prompt": "few-shot:"}, "few-shot:FILE"),
        ({"data": ("answer",)}, "gold answer, which no search may see"),
        ({"data": ("A",), "columns": {"answer": "A"}}, "gold answer, which no search may see"),
        ({"request": "Solve it."}, "no place for the problem; write {problem}"),
    ],
)
def test_a_task_that_cannot_be_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        Task("mine", **given)


def test_a_python_file_has_tasks_by_name(file, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    ref = tasks.settled("mine.py:turned")
    assert ref == f"{file}:turned"
    (row,) = parse_rows('{"problem": "x", "word": "stop", "answer": "no"}', "r")
    labelled = tasks.labelled_of(row, ref)
    assert (labelled.problem.task, labelled.problem.data) == (ref, {"word": "stop"})
    assert prompt(ref, **labelled.problem.data) == "Problem: Turn round stop.\nSolution: "
    assert tasks.is_checkable(ref)
    assert tasks.checkable_verifier(ref).score(labelled.problem, "pots").correct
    verdicts = tasks.text_verifier(ref).score_batch([(labelled.problem, text) for text in ("so pots", "so stop", " ")])
    assert [(v.reward, v.reason) for v in verdicts] == [(1, "right"), (0, "wrong"), (0, "no answer")]
    assert "looking" in capfd.readouterr().err
    assert prompt(tasks.settled("mine.py:made"), tokenizer=Plain) == "Hm.\n\nProblem: 2+2?\nSolution: "
    assert set(tasks.hashes_of([ref])) == {str(file)}
    for wrong, says in {
        "mine.py:nothing": "is a int; make it a colasearch.tasks.Task",
        "mine.py:absent": "no 'absent'; its tasks are turned, told",
        "mine.py": r"has 2 tasks \(turned, told\); name one",
        "other.py": "there is no file",
        "maths": "unknown task 'maths'.* Did you mean math",
        "math?style=paper": "it may have prompt and columns",
    }.items():
        with pytest.raises(InputError, match=says):
            tasks.settled(wrong)


def test_what_a_verifier_does_wrong_costs_one_text_its_reward(file, monkeypatch):
    ref = tasks.settled(f"{file}:told")
    assert not tasks.is_checkable(ref)
    with pytest.raises(InputError, match="needs the gold answer"):
        tasks.checkable_verifier(ref)
    problem = LabelledProblem(Problem.from_text("q", ref), "yes")
    found = tasks.answer_verifier(ref).score_batch([(problem, a) for a in ("yes", "near", "far", "odd")])
    assert [v.reward for v in found] == [1, 0.5, None, None]
    assert "outside [0, 1]" in found[2].reason
    turned = tasks.answer_verifier(tasks.settled(f"{file}:turned"))
    assert turned.score(Problem.from_text("no word"), "x").reason == "KeyError: 'word'"
    monkeypatch.setitem(tasks.TASKS, "one argument", Task("one argument", verifier=lambda answer: True))
    with pytest.raises(InputError, match="takes 1 arguments; it must take"):
        tasks.is_checkable("one argument")


def test_an_answer_function_that_raises_finds_none():
    task = Task("raises", answer=lambda text: text[5])
    with pytest.warns(UserWarning, match="IndexError"):
        assert task.extract("ab") is None


def test_what_data_names_is_not_run(tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError, match="only data names"):
        tasks.prompt_text(Plain, Problem.from_text("a", f"{evil}:task"))
    assert not (tmp_path / "ran").exists()


def test_a_worker_finds_the_task_by_the_path_that_came_with_the_problem(file, lm, monkeypatch):
    problem = Problem.from_text("a", tasks.settled(f"{file}:turned"), {"word": "ab"})
    sent = pickle.dumps((SearchRecipe(SearchSettings(sims=2, world=WorldConfig(max_tokens=4))), problem))
    monkeypatch.setattr(registry, "_adopted", set())  # as a new process begins
    monkeypatch.setattr(registry, "_made", {})
    recipe, arrived = pickle.loads(sent)
    engine = recipe.engine(lm, 1, lambda: None)
    assert isinstance(engine, SearchEngine)
    done = engine.add([(0, arrived)])
    while not done:
        done = engine.step()
    assert done[0][1].error is None
    assert done[0][1].result.task == problem.task


def test_an_entry_point_is_a_task(monkeypatch):
    made = Task("theirs", "{problem}!")
    point = SimpleNamespace(name="theirs", load=lambda: made)
    broken = SimpleNamespace(name="broken", load=lambda: 1 / 0)

    class Points(list):
        names = ("theirs", "broken")

    def entry_points(group, name=None):
        assert group == "colasearch.tasks"
        return Points(p for p in (point, broken) if name in (None, p.name))

    monkeypatch.setattr(userfile, "entry_points", entry_points)
    monkeypatch.setattr(registry, "_made", {})
    assert prompt(tasks.settled("theirs", prompt="paper")) == "User: 2+2?!\nAssistant: "
    with pytest.raises(PrerequisiteError, match="ZeroDivisionError"):
        tasks.get_task("broken")
    with pytest.raises(InputError, match="known tasks are broken, choice,"):
        tasks.get_task("absent")


YAML = """
request: "{problem} Frac is \\\\frac{a}{b}. Use {numbers}."
system: Be brief.
pattern: 'Answer: *(\\d+)'
verifier: numeric
columns: {problem: Q, answer: A, numbers: N}
data: [numbers]
prompt: few-shot:shots.jsonl
text_tokens: 50
"""


def test_a_yaml_file_is_a_task(tmp_path):
    (tmp_path / "mine.yaml").write_text(YAML)
    (tmp_path / "shots.jsonl").write_text('{"Q": "One?", "A": "Answer: 1", "N": [1]}\n')
    ref = tasks.settled(str(tmp_path / "mine.yaml"))
    task = tasks.get_task(ref)
    assert (task.name, task.text_tokens) == ("mine", 50)
    (row,) = parse_rows('{"Q": "Two?", "A": 2, "N": [1, 2]}', "r", task.columns)
    labelled = tasks.labelled_of(row, ref)
    assert labelled.gold == "2"
    assert tasks.prompt_text(Plain, labelled.problem) == (
        "Be brief.\n\nProblem: One? Frac is \\frac{a}{b}. Use 1.\nSolution: Answer: 1\n\n"
        "Problem: Two? Frac is \\frac{a}{b}. Use 1, 2.\nSolution: "
    )
    found = tasks.text_verifier(ref).score_batch([(labelled, t) for t in ("Answer: 7. Answer: 2. 9", "2", "Answer: 3")])
    assert [v.reward for v in found] == [1, 0, 0]
    assert [v.reason == "no answer" for v in found] == [False, True, False]
    assert Reward(ref).of_answer(labelled, "2") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("verifer: math", "sets 'verifer'; a task has name, .* Did you mean verifier"),
        ("verifier: maths", "'maths'; it must be one of"),
        ("branch_below: low", "branch_below is 'low'; it must be a number"),
        ("columns: Q", "columns is 'Q'; it must be a mapping"),
        ("columns: {problem: 3}", r"columns has \('problem', 3\)"),
        ("answer: maths", "'maths'; it must be one of math, countdown"),
        ("answer: math\npattern: x", "give one"),
        ("pattern: '('", "no regular expression"),
        ("- math", "holds no mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_yaml_file_that_is_no_task_is_refused(tmp_path, text, says):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        tasks.settled(str(path))


def test_columns_are_named_and_errors_name_those_that_are_there(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"Q": "2+2?", "answer": "old", "A": "so #### 4"}\n')
    ref = tasks.settled("math", columns={"problem": "Q", "answer": "A"})
    (one,) = load_problems([data], ref)
    assert (one.problem.text, one.gold) == ("2+2?", "4")
    with pytest.raises(InputError, match='no text "P", the column named for problem; its columns are Q, answer, A'):
        load_problems([data], tasks.settled("math", columns={"problem": "P"}))
    with pytest.raises(InputError, match='no "Gold", the column named for answer'):
        load_problems([data], tasks.settled("math", columns={"problem": "Q", "answer": "Gold"}))
    with pytest.raises(InputError, match="columns are Q, answer, A: name another by --columns problem=COLUMN"):
        load_problems([data])
    with pytest.raises(InputError, match="write our names and yours"):
        tasks.columns_of("problem")
    table = tmp_path / "t.csv"
    table.write_text('Q,N,T\nmake,"[4, 6]",24\n')
    named = {"problem": "Q", "numbers": "N", "target": "T"}
    (made,) = load_problems([table], tasks.settled("countdown", columns=named))
    assert made.problem.data == {"numbers": [4, 6], "target": 24}


def test_a_list_of_chat_messages_is_the_prompt_as_it_stands():
    messages = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}]
    asked = [*messages, {"role": "user", "content": "2+2?"}]
    (row,) = parse_rows(json.dumps({"prompt": asked, "answer": "4"}), "r")
    labelled = tasks.labelled_of(row, "math")
    assert (labelled.problem.text, labelled.gold) == ("2+2?", "4")
    chat = make_tokenizer()
    assert tasks.prompt_text(chat, labelled.problem) == "<user>1?</user><user>1</user><user>2+2?</user><solution>"
    document = Layout(chat, 0, 200).document({**row.fields, "solution": "So \\boxed{4}"})
    assert chat.decode(document.tokens[: document.prompt]) == tasks.prompt_text(chat, labelled.problem)
    with pytest.raises(InputError, match="neither a text nor chat messages"):
        parse_rows(json.dumps({"prompt": messages}), "r")


def test_iterations_of_a_file_s_task_name_it_in_every_stage_that_judges(file):
    ref = tasks.settled(f"{file}:told")
    plan = {stage.name: " ".join(map(str, stage.args)) for stage in stages(Iterations("m", task=ref), 10)}
    for name in ("check-0", "search-1", "value-1", "rl-1"):
        assert f"--task {ref}" in plan[name], name
    assert plan["search-1"].startswith("bench rows ")
    problems = [LabelledProblem(Problem.from_text(q, ref), q) for q in ("a", "b")]
    files = data_files(problems[:1], problems[1:], 1, 0, ref)
    assert json.loads(files["heldout.jsonl"]) == {"id": problems[1].problem.id, "Q": "b", "A": "b"}


def test_a_model_solves_a_task_in_python(model_folder, request):
    from colasearch.solving import solve

    request.addfinalizer(lambda: tasks.TASKS.pop("shout"))
    tasks.register(Task("shout", "{problem}!", verifier=lambda problem, answer: answer == "x", answer=lambda text: "x"))
    with pytest.raises(InputError, match="there is a task 'shout' already"):
        tasks.register(Task("shout"))
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    done = solve(Problem.from_text("a", "shout"), lm, sims=2, config=WorldConfig(max_tokens=4))
    assert done.task == "shout"


def test_a_closed_box_ends_a_text_only_where_nothing_behind_it_counts(lm, monkeypatch, file):
    ends = TextEnds(make_tokenizer(), frozenset([0]))
    box = make_tokenizer().encode("so \\boxed{4}")
    own = tasks.settled(f"{file}:turned")
    for ref, at_box in {"math": True, "countdown": True, "math?prompt=think": False, own: False}.items():
        finished = ends.finish_of(tasks.get_task(ref))
        assert (finished(box), finished([*box, 0])) == (at_box, True), ref

    asked = []  # each way of writing texts asks as the task of each text says

    def spy(at_box):
        return lambda self, tokens: bool(asked.append(at_box)) or bool(tokens and tokens[-1] == 0)

    monkeypatch.setattr(TextEnds, "is_finished", spy(True))
    monkeypatch.setattr(TextEnds, "is_ended", spy(False))
    math = Problem.from_text("b", "math")
    problems = [Problem.from_text("a", own, {"word": "ab"}), math]
    world = WorldConfig(max_tokens=6, references=2)
    for alone, wanted in ((problems[:1], {False}), (problems, {False, True})):
        asked.clear()
        done = list(search_problems(lm, alone, SearchSettings(sims=3, world=world)))
        assert (set(asked), [one.error for one in done]) == (wanted, [None] * len(alone))
        asked.clear()
        Sampler(lm, alone, world, 0, "latent").draw([(place, 0) for place in range(len(alone))])
        assert set(asked) == wanted
        asked.clear()
        labelled = [LabelledProblem(problem, "x") for problem in alone]
        roller = Roller(lm, labelled, lambda items: [0.0] * len(items), RolloutConfig(group=2, max_tokens=6))
        roller.collect(range(len(alone)), 0)
        assert set(asked) == wanted
