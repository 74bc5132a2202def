"""``colasearch experiment agents``: its smoke size end to end, and the numbers that it makes of episodes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from colasearch.cli.main import main
from colasearch.errors import InputError
from colasearch.experiments.recipes.agents import SIZES, Agents, bench_name, rl_name, stages
from colasearch.experiments.recipes.overrides import override
from colasearch.experiments.reports.agents_results import contrast, gain_of
from colasearch.experiments.running.stages import _inputs


@pytest.fixture(scope="module")
def whole(tmp_path_factory, smoke):
    pytest.importorskip("peft", reason="peft is not installed: pip install '.[lora]'")
    folder = tmp_path_factory.mktemp("agents") / "run"
    return folder, smoke("agents", folder)[0]


def test_the_smoke_size_ends_with_both_kinds_of_rl_their_harm_and_search(whole):
    folder, summary = whole
    runs = {(one["on"], one["seed"]): one for one in summary["runs"]}
    assert set(runs) == {("codes", 0), ("tokens", 0)}
    for (level, _), one in runs.items():
        assert one["curve"]["step"] == [1, 2]
        assert one["curve"]["kl"][0] == pytest.approx(0, abs=1e-4)
        assert one["rollouts"] == 8
        assert 0 <= one["greedy"]["success"] <= 1
        assert set(one["greedy"]["tasks"]) == {"fetch", "wash", "unlock"}
        # RL on codes leaves the base as it is; of so few rollouts RL on tokens may have nothing to learn either.
        assert one["text"]["tokens"]["difference"] == 0 or level == "tokens"
    assert [(point["sims"], point["equal"]) for point in summary["search"]] == [
        (2, "steps"), (3, "steps"), (2, "tokens"), (3, "tokens"),
    ]  # fmt: skip
    assert {"gumbel", "best_of_n", "greedy", "sampled", "majority"} == set(summary["search"][0]["arms"])
    report = (folder / "report.md").read_text()
    assert "Does it harm the base's text?" in report
    assert (folder / "report.html").stat().st_size > 1000
    assert (folder / "model" / "model.safetensors").is_file()


def test_done_stages_are_not_done_again(whole, smoke):
    folder, summary = whole
    again, said = smoke("agents", folder, "--resume")
    assert again == summary
    assert "was done before" in said


def test_both_kinds_of_rl_are_equal_but_for_what_is_chosen_and_trained():
    plan = {stage.name: stage for stage in stages(Agents())}
    codes, tokens = plan[rl_name("codes", 1)], plan[rl_name("tokens", 1)]

    def shared(args: Sequence[str]) -> list[str]:
        """But for flags and values that the two must not share."""
        own = ("--on", "--lr", "--merge-codes", "--output")
        pairs = zip(args, ("", *args), strict=False)
        return [one for one, before in pairs if {one, before}.isdisjoint(own) and one != "--match-policy"]

    assert shared(codes.args) == shared(tokens.args)
    assert "--match-policy" in tokens.args
    assert codes.folder in _inputs(plan[bench_name("codes", 1)], list(plan.values()))


def test_numbers_of_the_recipe_are_checked(capsys):
    for change, why in ((["seeds=0"], "seeds is 0"), (["sims=0"], "sims is"), (["group=1"], "group is 1")):
        with pytest.raises(InputError, match=why):
            stages(override(SIZES["full"], change))
    assert main(["experiment", "agents", "--show"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["seeds"] == 3


def test_a_difference_is_shown_over_episodes_and_over_seeds_or_not_at_all():
    ids = [str(i) for i in range(100)]
    solved = lambda share: {i: float(int(i) < 100 * share) for i in ids}  # noqa: E731
    sure = contrast([solved(0.8), solved(0.82), solved(0.81)], [solved(0.5), solved(0.52), solved(0.5)], 0)
    assert sure["success"] == pytest.approx(0.81 - 0.5066, abs=1e-3)
    assert sure["shown"]
    # One seed of three is better by far: over episodes that is a difference, over seeds it is none.
    lucky = contrast([solved(0.9), solved(0.5), solved(0.5)], [solved(0.5)] * 3, 0)
    assert lucky["ci95"][0] > 0
    assert not lucky["shown"]
    assert not contrast([solved(0.8)], [solved(0.5)], 0)["shown"]


def test_a_gain_is_of_the_same_episodes_and_a_better_start_is_none():
    before, after = {"a": 1.0, "b": 0.0, "c": 0.0}, {"a": 0.0, "b": 1.0, "c": 0.0}
    assert gain_of(after, before) == {"a": -1.0, "b": 1.0, "c": 0.0}
    still = [gain_of(before, before)] * 3
    assert contrast(still, [gain_of(after, after)] * 3, 0)["success"] == 0


def test_a_file_of_ones_own_is_found_from_the_run_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "agents", "--show", "--set", "environment=mine.py:World:task"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"]["environment"] == f"{tmp_path.resolve()}/mine.py:World:task"
