"""Expert iteration on environments: its plan, what it refuses, and runs that are cut off or solve nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from colasearch.cli.iterate import command
from colasearch.environments import catalogue_of, find
from colasearch.errors import InputError
from colasearch.experiments.recipes.episode_iterations import EpisodeIterations, stages
from colasearch.experiments.recipes.iterating import slice_of
from colasearch.experiments.reports.iterate_results import best_iteration
from colasearch.model.latent_lm import LatentLM

USERS = Path(__file__).parent.parent / "environments" / "users.py"
SMALL = (
    "--iterations", 1, "--rl-rounds", 1, "--rl-batch", 2, "--rl-group", 2, "--value-epochs", 1, "--samples", 1,
    "--max-tokens", 3, "--eval-sims", 2, "--heldout", 0.2, "--threads", 1,
)  # fmt: skip


@pytest.fixture(scope="module")
def agent_folder(tmp_path_factory) -> Path:
    """A tiny model whose context holds the beginning of an episode."""
    from tiny import make_base

    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import new_latents, save_latents

    folder = tmp_path_factory.mktemp("models")
    base = BaseModel.load(str(make_base(folder / "base", context=1024)), device="cpu", dtype="float32")
    save_latents(new_latents(base, seed=1, num_codes=8), folder / "latents")
    return folder / "latents"


class Interrupted(Exception):
    pass


def run(folder: Path, *words: object, stop_at: str | None = None) -> tuple[dict, str]:
    """The command in this process: its summary, and what it said; it ends where it would say ``stop_at``."""
    said = io.StringIO()

    def echo(text: str = "", err: bool = False, **options: object) -> None:
        if stop_at is not None and stop_at in text:
            raise Interrupted
        (said if err else out).write(f"{text}\n")

    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
        patch.setattr("click.echo", echo)
        command.main([*map(str, words), "--output", str(folder)], standalone_mode=False)
    whole = out.getvalue()
    return json.loads(whole.splitlines()[-1]) if whole else {}, said.getvalue()


def lines_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def folder_of(run: Path, name: str) -> Path:
    (found,) = (run / "stages").glob(f"*-{name}")
    return found


def test_a_policy_clones_what_its_search_solved_and_a_run_that_was_cut_off_ends_as_a_whole_one(
    model_folder, rewound, tmp_path
):
    # The file is named from here, and found from the run's folder.
    words = ("--model", model_folder, "--data", f"env:{os.path.relpath(USERS)}:Seven", "--problems-per-iteration", 4)
    words = (*words, "--sims", 10, "--width", 10, "--policy-epochs", 20, "--policy-lr", 0.01, *SMALL)
    whole, said = run(tmp_path / "whole", *words)
    assert "6 variations to train on; 1 dev variations to measure on" in said
    assert "4 of 4 episodes were solved" in said
    names = [line.partition(":")[0] for line in said.splitlines() if line.endswith(" s")]
    kinds = ("search", "solved", "policy", "rollouts", "value", "rl", "check")
    after = [f"[{place}/10] {kind}-1" for place, kind in enumerate(kinds, 4)]
    assert names == ["[1/10] check-0", "[2/10] rollouts-0", "[3/10] value-0", *after]
    solved = lines_of(folder_of(tmp_path / "whole", "solved-1") / "solved.jsonl")
    assert [row["turns"][-1]["action"] for row in solved] == ["7"] * 4
    losses = [row["ce"] for row in lines_of(folder_of(tmp_path / "whole", "policy-1") / "metrics.jsonl") if "ce" in row]
    assert losses[-1] < 0.1  # of 8 codes; one that has learned nothing is at 2
    modules = LatentLM.from_pretrained(str(tmp_path / "whole" / "model"), "cpu", "float32").require_latents()
    assert modules.value is not None

    first, last = whole["iterations"]
    assert (first["n"], last["searched"]["correct"], last["searched"]["score"]["mean"]) == (1, 4, 1.0)
    assert set(last["greedy"]) == {"correct", "n", "accuracy", "ci95", "score"}
    assert last["rl"]["success"] == [pytest.approx(last["rl"]["reward"][0])]
    lines = lines_of(tmp_path / "whole" / "metrics.jsonl")
    assert [line["phase"] for line in lines] == ["check", "search", "policy", "value", "rl", "check"]
    assert lines[-1]["greedy_score"] == last["greedy"]["score"]["mean"]
    report = (tmp_path / "whole" / "report.md").read_text()
    assert "held-out episodes greedy success went from" in report
    assert "Scores, and episodes to learn from" in report
    assert "Calibration" not in report

    rewound(tmp_path / "whole", tmp_path / "cut", [f"{kind}-1" for kind in kinds[2:]])
    run(tmp_path / "cut", *words, "--resume", stop_at="policy: 20/20")  # inside a stage
    assert not (tmp_path / "cut" / "summary.json").exists()
    resumed, said = run(tmp_path / "cut", *words, "--resume")
    assert "[5/10] solved-1: was done before" in said
    assert {**resumed, "times": None} == {**whole, "times": None}
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    with pytest.raises(InputError, match="sims was 10"):
        run(tmp_path / "cut", *words, "--sims", 11, "--resume")


def test_where_a_search_solves_nothing_the_policy_stays_and_the_rest_goes_on(agent_folder, tmp_path):
    words = ("--model", agent_folder, "--data", "env:house:fetch", "--problems-per-iteration", 1, "--sims", 2)
    words = (*words, "--width", 2, "--max-steps", 1, *SMALL, "--rl-rounds", 0, "--heldout", 0)
    summary, said = run(tmp_path / "run", *words)
    assert "iteration 1: the search solved none of its episodes; the policy stays as it is" in said
    assert [stage["name"] for stage in summary["times"]["stages"]] == [
        "check-0", "rollouts-0", "value-0", "search-1", "solved-1", "rollouts-1", "value-1", "check-1"
    ]  # fmt: skip
    assert summary["iterations"][1]["searched"]["correct"] == 0
    before, after = (
        LatentLM.from_pretrained(str(folder), "cpu", "float32").require_latents().policy.state_dict()
        for folder in (agent_folder, tmp_path / "run" / "model")
    )
    assert all((before[name] == after[name]).all() for name in before)


def args_of(how: EpisodeIterations, unsolved: tuple[int, ...] = ()) -> dict[str, tuple[str, ...]]:
    return {stage.name: stage.args for stage in stages(how, unsolved)}


def value(args: tuple[str, ...], flag: str) -> str:
    return args[args.index(flag) + 1]


def test_the_plan_is_a_chain_of_models_and_leaves_out_what_there_is_nothing_for():
    how = EpisodeIterations("start", iterations=3, problems_per_iteration=4, train=9, checked=5, rl_rounds=0)
    plan = args_of(how)
    kinds = ("search", "solved", "policy", "rollouts", "value", "check")
    assert list(plan) == ["check-0", *(f"{kind}-{i}" for i in (1, 2, 3) for kind in kinds)]
    less = args_of(how, (2,))
    assert [name for name in plan if name not in less] == ["policy-2"]
    # The prefix that was run before it was known that nothing was solved is the same.
    assert list(plan.items())[: list(plan).index("policy-2")] == list(less.items())[: list(less).index("rollouts-2")]
    assert value(less["rollouts-2"], "--model") == value(less["search-2"], "--model")
    assert value(plan["value-2"], "--model") == f"{value(plan['policy-2'], '--output')}/model"
    assert value(plan["search-2"], "--model") == f"{value(plan['value-1'], '--output')}/model"
    for number in (1, 2, 3):
        picked = [str(word) for word in slice_of(how, number, 9)]
        for kind in ("search", "rollouts"):
            args = plan[f"{kind}-{number}"]
            assert args[args.index("--shuffle-seed") :][:6] == tuple(picked)
    assert [value(plan[f"search-{i}"], "--skip") for i in (1, 2, 3)] == ["0", "4", "0"]
    assert len({value(plan[f"rollouts-{i}"], "--seed") for i in (1, 2, 3)}) == 3
    assert (value(plan["check-3"], "--split"), value(plan["check-3"], "--limit")) == ("dev", "5")
    limited = args_of(EpisodeIterations("m", iterations=1, max_steps=7, max_tokens=9, has_value=False, servers=2))
    for name in ("check-0", "search-1", "rollouts-0", "rollouts-1", "rl-1"):
        assert value(limited[name], "--max-steps") == "7"
        longest = "--max-tokens" if name in ("check-0", "search-1") else "--max-new-tokens"
        assert value(limited[name], longest) == "9"
        assert "--servers" not in limited[name]  # results do not depend on it
    (search,) = (s for s in stages(EpisodeIterations("m", servers=2, iterations=1)) if s.name == "search-1")
    assert search.runtime == ("--servers", "2")


def test_slices_are_the_same_episodes_for_search_and_rollouts():
    catalogue = catalogue_of(find(f"{USERS}:Seven")[0])
    (_, seed, _, skip, _, limit) = slice_of(EpisodeIterations("m", problems_per_iteration=3), 2, 6)
    slices = [catalogue.starts(None, "train", limit=3, skip=place, shuffle_seed=0) for place in (0, 3)]
    assert {*slices[0]} | {*slices[1]} == {*catalogue.starts(None, "train")}
    assert catalogue.starts(None, "train", limit=limit, skip=skip, shuffle_seed=seed) == slices[1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--model", "countdown-tiny", "--data", "env:house"), "countdown-tiny has no inverse dynamics model"),
        (("--data", f"env:{USERS}:Guess"), "does not say which variations it has"),
        (("--data", f"env:{USERS}:Mixed"), "has 2 episodes both in train and in dev, such as 2"),
        (("--data", f"env:{USERS}:Undeveloped"), "has no episode of dev$"),
        (("--data", "env:house", "--task", "math"), "--task is for problems"),
        (("--data", "env:house", "--guide-epochs", "1"), "--guide-epochs is for problems"),
        (("--data", "env:house", "--workers", "2"), "--workers is for problems"),
        (("--data", "env:house", "--entropy-floor", "1"), "--entropy-floor is for problems"),
        (("--data", "env:house", "--buffer", "2"), "--buffer is for problems"),
        (("--data", "env:house", "--data", "p.jsonl"), "give it alone"),
        (("--data", "env:house", "--rl-group", "1"), "group is 1, but grpo"),
        (("--data", "env:house", "--option", "nonsense=1"), "gumbel has no option 'nonsense'"),
        (("--data", "p.jsonl", "--width", "3"), "--width is for environments"),
        (("--data", "p.jsonl", "--max-steps", "3"), "--max-steps is for environments"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_run(model_folder, tmp_path, words, why):
    given = ("--model", str(model_folder), *words, "--output", str(tmp_path / "run"))
    result = CliRunner().invoke(command, given)
    error = result.output if isinstance(result.exception, SystemExit) else str(result.exception)
    assert why.removesuffix("$") in error
    assert not why.endswith("$") or error.endswith(why[:-1])
    assert not (tmp_path / "run").exists()


def test_of_equal_success_the_greater_score_is_best():
    rows = [
        {"iteration": i, "greedy": {"accuracy": a, "score": {"mean": s}}}
        for i, (a, s) in enumerate(((0.9, 0.9), (0.0, None), (0.0, 0.4), (0.0, 0.4)))
    ]
    assert best_iteration({"iterations": rows}) == 2
