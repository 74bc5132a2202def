"""Expert iteration: its plan, its data, its calibration; a run that is interrupted and goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from colasearch.cli.iterate import command
from colasearch.errors import InputError
from colasearch.experiments.iterate_run import run_iterations
from colasearch.experiments.recipes.iterations import Iterations, data_files, slice_of, stages
from colasearch.experiments.reports.iterate_report import rl_curves
from colasearch.experiments.reports.iterate_results import best_iteration, calibration
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import LabelledProblem, Problem
from colasearch.storage.traces import Trace, TraceNode, TraceText
from colasearch.training.from_search.solutions import solutions
from colasearch.training.from_search.targets import outcomes_of, search_data
from colasearch.training.generated.countdown import countdown_rows

PROBLEMS = [LabelledProblem(Problem.from_text(f"What is {i} + {i}?"), str(2 * i)) for i in range(14)]


def countdown_problems(count: int) -> list[Problem]:
    return [
        Problem.from_text(row["problem"], "countdown", {"numbers": row["numbers"], "target": row["target"]})
        for row in countdown_rows(count, seed=5)
    ]


def node(parent: int, value: float, end: str = "", answer: str | None = None, tokens=(5,)) -> TraceNode:
    return TraceNode(parent, 0, (0,), tokens, "", 3, value, value, 0.0, 1.0, end, answer, ())


def trace_of(text: str, nodes: list[TraceNode]) -> Trace:
    return Trace(
        problem_id="p", task="math", text=text, model="m", searcher="puct", seed=0, actions="latent",
        prompt_tokens=(1, 2), answer=None, best_node=0, policy_target=(), nodes=tuple(nodes), texts=(), stop="budget",
        sims=4, generated_tokens=9, model_calls=9,
    )  # fmt: skip


TREE = [
    node(-1, 0.5),  # 0: two of four texts below are right
    node(0, 0.9),  # 1: one of two
    node(0, 0.2),  # 2: one of two, one of them cut off
    node(1, 0.9, "answer", "4"),
    node(1, 0.1, "answer", "5"),
    node(2, 0.3, "answer", "4"),
    node(2, 0.0, "cut"),
    node(0, 0.7),  # 7: nothing finished below
]


def right(trace: Trace, answer: str) -> float:
    return float(answer == "4")


def test_outcomes_are_mean_true_rewards_of_the_finished_texts_below():
    found = outcomes_of(trace_of("2+2?", TREE), right)
    assert found[0] == (0.5, 4)
    assert found[1] == (0.5, 2)
    assert found[2] == (0.5, 2)
    assert found[3] == (1.0, 1)
    assert found[6] == (0.0, 1)
    assert found[7] == (0.0, 0)


def test_values_to_learn_are_outcomes_where_a_judge_is_given_and_beliefs_without():
    believed = search_data([trace_of("2+2?", TREE)]).nodes
    judged = search_data([trace_of("2+2?", TREE)], judge=right).nodes
    assert sorted(n.value for n in believed) == [0.2, 0.5, 0.7, 0.9]
    assert sorted((n.value, n.visits) for n in judged) == [(0.0, 0), (0.5, 2), (0.5, 2), (0.5, 4)]


def test_trees_over_the_actions_of_an_environment_are_no_trees_of_codes():
    with pytest.raises(InputError, match="has whole actions of env:house for edges"):
        search_data([replace(trace_of("Goal: a cup.", TREE), task="env:house")])


def test_calibration_compares_what_was_said_with_what_came_of_it():
    problem = LabelledProblem(Problem.from_text("2+2?"), "4")
    found = calibration([trace_of("2+2?", TREE), trace_of("unknown", TREE)], [problem])
    assert found["nodes"] == 3
    assert [(one["low"], one["nodes"], one["true"]) for one in found["bins"]] == [
        (0.2, 1, 0.5), (0.5, 1, 0.5), (0.9, 1, 0.5)
    ]  # fmt: skip
    assert found["brier"] == pytest.approx((0.09 + 0 + 0.16) / 3, abs=1e-6)
    assert found["constant_brier"] == 0
    assert calibration([], [problem])["brier"] is None


def test_slices_do_not_overlap_until_all_problems_were_searched():
    how = Iterations("m", problems_per_iteration=4, seed=3)
    taken = [slice_of(how, number, 14) for number in range(1, 5)]
    assert [t[3] for t in taken] == [0, 4, 8, 0]
    assert taken[0][1] == taken[2][1]
    assert taken[3][1] != taken[0][1]  # another order for the second turn
    assert {t[5] for t in taken} == {4}
    assert slice_of(replace(how, problems_per_iteration=99), 2, 14)[3:] == (0, "--limit", 14)


def test_the_plan_names_models_in_a_chain_and_leaves_rl_out_when_told_to():
    how = Iterations("start", iterations=2, workers=2)
    plan = stages(how, 100)
    kinds = ["search", "policy", "value", "rl", "check"]
    assert [s.name for s in plan] == ["check-0", *(f"{kind}-{i}" for i in (1, 2) for kind in kinds)]
    by_name = {s.name: s for s in plan}
    model = by_name["search-2"].args[by_name["search-2"].args.index("--model") + 1]
    assert model == f"{by_name['rl-1'].folder}/model"
    assert "--workers" not in by_name["search-1"].command  # a run may go on with other workers
    assert by_name["search-1"].runtime == ("--workers", "2")
    assert [s.name for s in stages(replace(how, rl_rounds=0, iterations=1, has_value=False), 9)] == [
        "check-0", "rollouts-0", "value-0", "search-1", "policy-1", "value-1", "check-1"
    ]  # fmt: skip


def test_what_keeps_a_policy_wide_reaches_the_commands_only_where_it_is_asked_for():
    plain = {s.name: s.args for s in stages(Iterations("start"), 100)}
    names = ("--target-temperature", "--prior-mix", "--entropy-floor")
    assert not any(name in args for args in plain.values() for name in names)
    how = Iterations("start", buffer=2, target_temperature=2.0, prior_mix=0.3, entropy_floor=0.5)
    plan = {s.name: s for s in stages(how, 100)}
    given = dict(zip(plan["policy-3"].args, plan["policy-3"].args[1:], strict=False))
    assert [given[name] for name in names] == ["2.0", "0.3", "0.5"]
    assert "--entropy-floor" in plan["rl-3"].args
    for name in ("policy", "value"):
        traces = [
            [args[i + 1] for i, arg in enumerate(args) if arg == "--traces"]
            for args in (plan[f"{name}-{number}"].args for number in (1, 2, 3))
        ]
        folders = [plan[f"search-{number}"].folder for number in (1, 2, 3)]
        assert traces == [folders[:1], folders[:2], folders[1:]]
    with pytest.raises(InputError, match="buffer is 0"):
        stages(Iterations("start", buffer=0), 9)


def test_how_long_texts_get_is_left_to_the_model_unless_it_is_given():
    for limit, given in ((None, []), (60, ["60"] * 5)):
        plan = stages(Iterations("start", iterations=1, has_value=False, max_tokens=limit), 9)
        pairs = [pair for stage in plan for pair in zip(stage.args, stage.args[1:], strict=False)]
        assert [value for flag, value in pairs if flag in ("--max-tokens", "--max-new-tokens")] == given


def test_with_guided_tuning_the_base_learns_the_solutions_before_policy_and_values_learn_the_traces():
    plan = {s.name: s for s in stages(Iterations("start", iterations=1, guide_epochs=2, guide_tune="full"), 100)}
    assert list(plan) == [
        "check-0",
        *(f"{k}-1" for k in ("search", "solutions", "guide", "policy", "value", "rl", "check")),
    ]

    def given(name: str, option: str) -> str:
        args = plan[name].args
        return args[args.index(option) + 1]

    assert given("solutions-1", "--traces") == plan["search-1"].folder
    assert given("guide-1", "--data") == f"{plan['solutions-1'].folder}/solutions.jsonl"
    assert (given("guide-1", "--model"), given("guide-1", "--epochs"), given("guide-1", "--tune")) == (
        "start",
        "2",
        "full",
    )
    assert given("policy-1", "--model") == f"{plan['guide-1'].folder}/model"
    assert given("policy-1", "--traces") == plan["search-1"].folder


def test_solutions_are_the_right_texts_once_each_the_most_probable_first():
    texts = (
        TraceText("b \\boxed{4}", "4", 0.1, 0.2), TraceText("wrong \\boxed{5}", "5", 0.9, 0.9),
        TraceText("a \\boxed{4}", "4", 0.5, 0.6), TraceText("a \\boxed{4}", "4", 0.5, 0.6),
        TraceText("so 2 + 2 = 5. \\boxed{4}", "4", 0.0, 0.8), TraceText("cut", None, 0.0),
    )  # fmt: skip
    traces = [replace(trace_of(text, TREE), texts=texts) for text in ("2+2?", "unknown")]
    labelled = LabelledProblem(Problem.from_text("2+2?"), "4")
    rows = solutions(traces, {"2+2?": labelled}, right, most=5)
    assert [row["solution"] for row in rows] == ["a \\boxed{4}", "b \\boxed{4}"]
    assert {row["problem"] for row in rows} == {"2+2?"}
    assert {row["answer"] for row in rows} == {"4"}
    assert len({row["id"] for row in rows}) == 2
    assert [row["solution"] for row in solutions(traces, {"2+2?": labelled}, right, most=1)] == ["a \\boxed{4}"]
    numbers = LabelledProblem(Problem.from_text("2+2?", "countdown", {"numbers": [2, 2], "target": 4}), "")
    (row, _) = solutions(traces, {"2+2?": numbers}, right, most=2)
    assert (row["numbers"], row["target"], "answer" in row) == ([2, 2], 4, False)


def test_a_model_learns_the_solutions_that_its_own_search_found(tmp_path):
    problems = [LabelledProblem(p, "") for p in countdown_problems(5)]
    how = Iterations(
        "countdown-tiny", task="countdown", iterations=1, problems_per_iteration=4, searcher="puct", sims=8,
        eval_sims=2, max_tokens=60, guide_epochs=1, guide_tune="full", rl_rounds=0, value_epochs=1, threads=1,
    )  # fmt: skip
    summary = run_iterations(how, problems[:4], problems[4:], tmp_path / "run", say=lambda line: None)
    found = summary["iterations"][1]["searched"]["correct"]
    (rows,) = (tmp_path / "run" / "stages").glob("*-solutions-1/solutions.jsonl")
    solved = {json.loads(line)["problem"] for line in rows.read_text().splitlines()}
    assert 0 < len(solved) <= found
    lm = LatentLM.from_pretrained(str(tmp_path / "run" / "model"), "cpu", "float32")
    assert lm.require_latents().config.tuned is not None


def test_data_files_refuse_what_stands_on_both_sides_and_empty_sides():
    files = data_files(PROBLEMS[:3], PROBLEMS[3:5], 2, 0)
    assert len(files["first.jsonl"].splitlines()) == 2
    assert set(files["first.jsonl"].splitlines()) < set(files["train.jsonl"].splitlines())
    assert [json.loads(line)["answer"] for line in files["train.jsonl"].splitlines()] == ["0", "2", "4"]
    with pytest.raises(InputError, match="1 held-out problems are also trained on"):
        data_files(PROBLEMS[:3], PROBLEMS[2:4], 2, 0)
    with pytest.raises(InputError, match=r"no problems for heldout\.jsonl"):
        data_files(PROBLEMS, [], 2, 0)


def test_the_best_iteration_is_the_first_of_greatest_greedy_accuracy():
    rows = [{"iteration": i, "greedy": {"accuracy": a}} for i, a in enumerate((0.9, 0.3, 0.5, 0.5))]
    assert best_iteration({"iterations": rows}) == 2


def test_rl_s_curves_are_a_line_an_iteration_one_after_the_other():
    rounds = {"step": [1, 2], "reward": [0.1, 0.2], "format": [None, None]}
    rows = [
        {"iteration": 0},
        {"iteration": 1, "rl": rounds},
        {"iteration": 2, "rl": None},
        {"iteration": 3, "rl": rounds},
    ]
    (section,) = rl_curves(rows)
    (chart,) = section.charts  # nothing is known of form
    assert [(s.name, list(s.x), list(s.y)) for s in chart.series] == [
        ("iteration 1", [1, 2], [0.1, 0.2]), ("iteration 3", [3, 4], [0.1, 0.2])
    ]  # fmt: skip
    assert rl_curves(rows[:1]) == []


def test_wrong_options_are_refused_before_anything_is_run(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"problem": "1+1?", "answer": "2"}\n')
    given = ["--data", str(data), "--output", str(tmp_path / "run"), "--option", "nonsense=1"]
    result = CliRunner().invoke(command, given)
    assert isinstance(result.exception, InputError)
    assert "gumbel has no option 'nonsense'" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_what_rl_would_refuse_is_refused_before_the_first_search():
    with pytest.raises(InputError, match="group is 1, but grpo"):
        stages(Iterations("m", rl_group=1), 9)
    stages(Iterations("m", rl_group=1, rl_rounds=0), 9)
    stages(Iterations("m", rl_group=1, algorithm="ppo"), 9)


class Interrupted(Exception):
    pass


def run(model: Path, folder: Path, stop_at: str | None = None, resume: bool = False) -> dict:
    how = Iterations(
        str(model), has_value=False, samples=2, iterations=1, problems_per_iteration=4, searcher="puct", sims=6,
        branch_below=0.0, eval_sims=2, max_tokens=12, max_step_tokens=8, rl_rounds=2, rl_batch=2, rl_group=2,
        value_epochs=1, threads=1,
    )  # fmt: skip

    def say(line: str) -> None:
        if stop_at is not None and stop_at in line:
            raise Interrupted

    return run_iterations(how, PROBLEMS[:8], PROBLEMS[8:11], folder, resume=resume, say=say)


def test_an_interrupted_run_ends_as_an_undisturbed_one(model_folder, rewound, tmp_path):
    whole = run(model_folder, tmp_path / "whole")
    rewound(tmp_path / "whole", tmp_path / "cut", ("rl-1", "check-1"))
    with pytest.raises(Interrupted):
        run(model_folder, tmp_path / "cut", "rl: 1/2", resume=True)  # inside a stage
    assert not (tmp_path / "cut" / "summary.json").exists()
    resumed = run(model_folder, tmp_path / "cut", resume=True)
    assert {**resumed, "times": None} == {**whole, "times": None}
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    modules = LatentLM.from_pretrained(str(tmp_path / "whole" / "model"), "cpu", "float32").require_latents()
    assert modules.value is not None  # it learned one
    assert [row["iteration"] for row in whole["iterations"]] == [0, 1]
    assert len(whole["iterations"][1]["rl"]["reward"]) == 2
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert lines[0] == lines[1]
    rows = [json.loads(line) for line in lines[0].splitlines()]
    assert [(row["iteration"], row["phase"]) for row in rows] == [
        (0, "check"), *((1, phase) for phase in ("search", "calibration", "policy", "value", "rl", "check"))
    ]  # fmt: skip
    assert rows[-1]["greedy_correct"] == whole["iterations"][1]["greedy"]["correct"]
    assert rows[5]["last_reward"] == whole["iterations"][1]["rl"]["reward"][-1]
    assert 1 <= rows[5]["mean_actions_used"] <= 8
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Search and RL in turn" in page
    assert "Calibration of values" in page
    with pytest.raises(InputError, match="not empty"):
        run(model_folder, tmp_path / "whole")


def test_a_reward_of_ones_own_pays_rl_alone_and_its_file_is_found_from_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def f(problems, texts):\n    return [0.5] * len(texts)\n")
    Path("p.jsonl").write_text("".join(json.dumps({"problem": f"{n}+1?", "answer": n + 1}) + "\n" for n in range(40)))
    seen = {}

    def run(how, train, held, output, **options):
        seen["how"], seen["plan"] = how, stages(how, len(train))
        return {}

    monkeypatch.setattr("colasearch.experiments.iterate_run.run_iterations", run)
    given = ["--data", "p.jsonl", "--output", "run", "--reward", "mine.py:f*2", "--reward", "verifier:math"]
    result = CliRunner().invoke(command, given)
    assert result.exception is None, result.output
    assert seen["how"].reward == (f"{tmp_path.resolve() / 'mine.py'}:f*2", "verifier:math")
    for stage in seen["plan"]:
        paid = [value for flag, value in zip(stage.args, stage.args[1:], strict=False) if flag == "--reward"]
        assert paid == (list(seen["how"].reward) if stage.name.startswith("rl-") else [])
