"""``colasearch experiment preference``: its smoke size end to end, and the numbers that it makes of curves."""

import json

import numpy as np
import pytest

from colasearch.cli.main import main
from colasearch.errors import InputError
from colasearch.experiments.recipes import gold
from colasearch.experiments.recipes.overrides import override
from colasearch.experiments.recipes.preference import SIZES, Preference, data_files, run_name, stages
from colasearch.experiments.reports.preference_results import arm, at_equal_kl, smooth, student
from colasearch.experiments.running.stages import _inputs


@pytest.fixture(scope="module")
def whole(tmp_path_factory, smoke, model_folder):
    pytest.importorskip("peft", reason="peft is not installed: pip install '.[lora]'")
    folder = tmp_path_factory.mktemp("preference") / "run"
    return folder, smoke("preference", folder, "--set", f"model={model_folder}")[0]


def test_the_smoke_size_ends_with_curves_of_both_scores(whole):
    folder, summary = whole
    runs = {(one["on"], one["seed"]): one for one in summary["runs"]}
    assert len(runs) == 4
    for one in runs.values():
        curve = one["curve"]
        assert curve["step"] == [1, 2, 3]
        assert curve["kl"][0] == pytest.approx(0, abs=1e-4)  # RL begins at the start
        assert all(0 < value < 1 for key in ("proxy", "gold") for value in curve[key])
    # The gold score is of the very texts: brief writing scores 1 / (1 + characters / 40).
    text = (folder / "report.md").read_text()
    assert "Are codes gamed less?" in text
    assert (folder / "report.html").stat().st_size > 1000
    # Equal numbers train on both sides, as nearly as ranks allow.
    codes, tokens = (runs[level, 0]["trained_parameters"] for level in ("codes", "tokens"))
    assert 0.8 < codes / tokens < 1.25
    assert summary["contrasts"][0]["seeds"] == 2


def test_what_is_watched_pays_nothing(whole):
    """The reward that RL logs is the proxy's own mean, to the last digit that is kept."""
    folder, _ = whole
    name = next(path for path in (folder / "stages").iterdir() if path.name.endswith(run_name("brief", "codes", 0, 0)))
    rows = [json.loads(line) for line in (name / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        if "kl" in row:
            (proxy,) = (value for key, value in row.items() if key.startswith("reward/rm:"))
            assert row["reward"] == pytest.approx(proxy, abs=1e-6)


def test_done_stages_are_not_done_again(whole, smoke, model_folder):
    folder, summary = whole
    again, said = smoke("preference", folder, "--set", f"model={model_folder}", "--resume")
    assert again == summary
    assert "was done before" in said


def test_rl_waits_for_the_proxy_that_pays_it():
    plan = stages(SIZES["smoke"])
    by_name = {stage.name: stage for stage in plan}
    rl = by_name[run_name("brief", "tokens", 0, 1)]
    assert by_name["reward-brief"].folder in _inputs(rl, plan)


def test_no_prompt_of_rl_was_labelled():
    files = data_files(Preference(seed=3))
    label, prompts = ({json.loads(line)["problem"] for line in files[f"data/{name}.jsonl"].splitlines()}
                      for name in ("label", "prompts"))  # fmt: skip
    assert (len(label), len(prompts)) == (64, 128)
    assert not label & prompts
    with pytest.raises(InputError, match="and there are"):
        data_files(Preference(rl_prompts=10_000))


def test_numbers_of_the_recipe_are_checked(capsys):
    assert override(Preference(), ["betas=0,0.5", "golds=brief,academy"]).betas == (0.0, 0.5)
    for change, why in ((["golds=variety"], "golds has"), (["betas=-1"], "at least 0"), (["seeds=0"], "seeds is 0")):
        with pytest.raises(InputError, match=why):
            stages(override(Preference(), change))
    with pytest.raises(InputError, match=r"0,0\.01"):
        override(Preference(), ["betas=a"])
    assert main(["experiment", "preference", "--show", "--set", "golds=brief", "--set", "seeds=1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in shown["stages"]][-1] == "rl-brief-tokens-0.01-0"


def test_gold_scorers_want_what_they_say():
    problems = ["Write two sentences about rivers."] * 2
    plain = "Rivers are long. They flow to the sea."
    for name, wanted in (
        ("academy", "Consequently, research demonstrates hydrological significance of rivers. They flow."),
        ("business", "Rivers cut costs for company and market. Growth of sales and profit."),
        ("entertainment", "Rivers! Who can stop them?"),
        ("literature", "Rivers dance like silver light, soft, deep, ancient. They dream."),
    ):
        better, worse = getattr(gold, name)(problems, [wanted, plain])
        assert 0 <= worse < better <= 1, name
        again, _ = getattr(gold, name)(problems, [f"{wanted} " * 4, plain])
        assert again < better / 2, name  # what repeats itself is worth less, however much of the kind it is
        assert getattr(gold, name)(problems[:1], [""]) == [0.0]
    assert gold.brief(problems, ["", "x" * 40]) == [1.0, 0.5]
    same, other = gold.difference(["p", "p"], ["a b", "a b"]), gold.difference(["p", "p"], ["a b", "c d"])
    assert (same, other) == ([0.0, 0.0], [1.0, 1.0])
    assert gold.variety(problems, ["a b a b", "a"]) == [pytest.approx(2 / 3), 0.0]
    assert gold.difference(["p", "p"], ["1 + 2", "1 + 3"]) == [0.5, 0.5]
    sums = ["Make 15 from 3, 5.", "Make 12 from 3, 4."]
    assert gold.solved(sums, ["3*5=15\n\\boxed{3*5}"] * 2) == [1.0, 0.0]


def test_scores_are_compared_at_equal_divergence():
    """A run that gets there in one round and one that takes ten have the same score at the same KL."""
    line = lambda kl: {"kl": kl, "proxy": [0.1 + 0.2 * x for x in kl], "gold": [0.5 - 0.1 * x for x in kl]}  # noqa: E731
    rows = at_equal_kl(line([0.0, 1.0, 3.0]), line(list(np.linspace(0, 2, 21))))
    assert [row["kl"] for row in rows] == [0.5, 1.0, 1.5, 2.0]
    for row in rows:
        for level in ("codes", "tokens"):
            assert row[level]["proxy"] == pytest.approx(0.1 + 0.2 * row["kl"])
            assert row[level]["gold"] == pytest.approx(0.5 - 0.1 * row["kl"])
    assert at_equal_kl(line([0.0, 0.0]), line([0.0, 1.0])) == []


def test_an_arm_is_its_seeds_mean_and_what_gold_lost():
    steps = list(range(1, 10))
    rise = [0.1 * s for s in steps]
    hill = [0.5 - 0.02 * (s - 5) ** 2 for s in steps]
    curve = {
        "step": steps,
        "kl": rise,
        "proxy": rise,
        "gold": hill,
        "length": rise,
        "variety": rise,
        "difference": rise,
    }
    found = arm([curve, {**curve, "gold": [g + 0.1 for g in hill]}], [1.0, 3.0])
    assert found["hacked"] == 2.0
    assert found["ci95"] == [pytest.approx(2 - 12.706), pytest.approx(2 + 12.706)]
    smoothed = smooth([g + 0.05 for g in hill])
    assert found["fallen"] == pytest.approx(max(smoothed) - smoothed[-1])
    assert found["gain"]["proxy"] == pytest.approx(smooth(rise)[-1] - smooth(rise)[0])
    assert student([1.0]) == (1.0, None)
