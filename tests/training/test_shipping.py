"""Exporting a trained model with its base: it loads anywhere, says the same, and is checked."""

from __future__ import annotations

import importlib.util
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from tiny import make_base

from colasearch.cli.main import main
from colasearch.environments import catalogue_of, find
from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM, save_latents, world_model_states
from colasearch.problem import LabelledProblem, Problem
from colasearch.storage.files import check_sums, write_sums
from colasearch.training.base.tuning import TunableBase, Tuning
from colasearch.training.trained.greedy import Episodes, greedy_texts
from colasearch.training.trained.shipping import Origin, ship

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "ship_model.py"
TOKENS = torch.tensor([[5, 60, 7, 80, 9]])


@pytest.fixture(autouse=True)
def short_texts(monkeypatch):
    """Greedy texts are most of the time; the tiny models' say all that they have to say early."""
    monkeypatch.setattr("colasearch.training.trained.greedy.GREEDY_TOKENS", 12)
    monkeypatch.setattr("colasearch.training.trained.greedy.EPISODE_STEPS", 2)


@pytest.fixture
def problems():
    return [
        LabelledProblem(Problem.from_text("", "countdown", {"numbers": [a, 5, 7], "target": 26}), "") for a in (3, 4)
    ]


@pytest.fixture
def origin(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "a"}\n\n{"text": "b"}\n')
    return Origin(("colasearch train base --data rows.jsonl",), (data,), "c0ffee", "## Known faults\n\nMany.\n")


@torch.no_grad()
def logits(lm: LatentLM) -> torch.Tensor:
    """Next-token logits under code 3 at each position, which base, codebook and merge head all take part in."""
    hidden = lm.base.hidden(TOKENS)
    merged = world_model_states(lm.require_latents(), lm.base, hidden, torch.full(TOKENS.shape, 3))
    return lm.base.logits(merged)


def load(folder: object) -> LatentLM:
    return LatentLM.from_pretrained(str(folder), "cpu", "float32")


def test_an_exported_model_needs_nothing_else(model_folder, base_folder, problems, origin, tmp_path):
    before = load(model_folder)
    shipped = ship(str(model_folder), tmp_path / "out" / "small-one", problems, origin)
    moved = Path(shutil.move(shipped.folder, tmp_path / "elsewhere"))
    after = load(moved)
    torch.testing.assert_close(logits(after), logits(before), rtol=2e-3, atol=2e-3)
    assert after.base.identity.name == str(moved / "base")
    assert shipped.compared == 4
    assert shipped.same[shipped.storage] <= 4
    assert shipped.size == sum(p.stat().st_size for p in moved.rglob("*") if p.is_file())
    assert shipped.idm
    for folder in (moved, moved / "base"):
        assert check_sums(folder, "").keys() == {p.name for p in folder.iterdir() if p.is_file()} - {"SHA256SUMS"}
        assert all(stat.S_IMODE(p.stat().st_mode) == 0o644 for p in folder.iterdir() if p.is_file())
    config = json.loads((moved / "config.json").read_text())
    assert config["base"]["name"] == "small-one"
    assert config["base"]["sha256"] == after.base.identity.sha256
    # A model that is trained from it finds the base in the folder where it is now.
    save_latents(after.require_latents(), tmp_path / "trained")
    assert load(tmp_path / "trained").base.identity == after.base.identity


def test_the_card_says_how_the_model_was_made(model_folder, problems, origin, tmp_path):
    shipped = ship(str(model_folder), tmp_path / "small-one", problems, origin, storage="float32")
    card = (shipped.folder / "README.md").read_text()
    assert "# Latent actions for small-one" in card
    assert "the base is with them, in the folder base" in card
    assert "    colasearch train base --data rows.jsonl\n" in card
    assert "commit c0ffee" in card
    assert "| rows.jsonl | 2 |" in card
    assert "stored in float32, 4 are the same" in card
    assert "## Known faults" in card
    assert str(tmp_path) not in card


def test_float16_is_taken_back_where_it_changes_a_text(model_folder, base_folder, problems, origin, tmp_path):
    """Two output rows that only float32 tells apart: the second one wins by a hair."""
    folder = Path(shutil.copytree(base_folder, tmp_path / "base"))
    tensors = load_file(str(folder / "model.safetensors"))
    table = tensors["model.embed_tokens.weight"]
    told = greedy_texts(load(folder), problems).texts[0]
    winner = max(told)
    table[winner - 1] = table[winner] * (1 - 1e-5)
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    shipped = ship(str(folder), tmp_path / "plain", problems, origin)
    assert shipped.storage == "float32"
    assert shipped.same["float16"] < shipped.same["float32"] == shipped.compared
    halved = ship(str(folder), tmp_path / "plain", problems, origin, storage="float16")
    assert halved.size < shipped.size
    assert load_file(str(tmp_path / "plain/base/model.safetensors"))["model.norm.weight"].dtype == torch.float16


def test_a_base_alone_is_exported_too(base_folder, problems, origin, tmp_path):
    shipped = ship(str(base_folder), tmp_path / "plain", problems, origin)
    assert not shipped.idm
    assert BaseModel.load(str(tmp_path / "plain" / "base"), device="cpu").hidden_size == 16
    assert "without latent modules" in (tmp_path / "plain" / "README.md").read_text()


def test_a_model_of_an_environment_is_compared_by_its_episodes(origin, tmp_path):
    catalogue = catalogue_of(find("house")[0])
    asked = Episodes(catalogue, catalogue.starts("fetch", "dev", limit=2))
    shipped = ship(
        str(make_base(tmp_path / "base", context=2048)), tmp_path / "player", asked, origin, storage="float32"
    )
    assert (shipped.problems, shipped.compared, shipped.same, shipped.solved) == (2, 2, {"float32": 2}, 0)
    card = (shipped.folder / "README.md").read_text()
    assert "2 greedy texts on 2 held-out episodes" in card
    assert "0 of the 2 episodes are solved" in card


def test_settings_of_the_base_s_own_run_go_into_the_card(base_folder, problems, origin, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(base_folder, run / "model")
    (run / "manifest.json").write_text(json.dumps({"kind": "base", "config": {"width": 16, "epochs": 99}}))
    (run / "metrics.jsonl").write_text(
        '{"step": 1, "ce": 2.0}\n{"step": 1, "heldout/ce": 1.25}\n{"step": 2, "ce": 1}\n'
    )
    ship(str(run / "model"), tmp_path / "plain", problems, origin)
    card = (tmp_path / "plain" / "README.md").read_text()
    assert "## Stage: base" in card
    assert "| epochs | 99 |" in card
    assert "| ce | 1.25 |" in card


@pytest.fixture
def tuned_folder(model_folder, tmp_path):
    """A checkpoint whose base was changed, in one layer."""
    lm = load(model_folder)
    tunable = TunableBase(lm, Tuning("layers", layers=(-1,)), 0)
    with torch.no_grad():
        for p in tunable.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    tunable.finish(tmp_path / "changes")
    lm.save_pretrained(tmp_path / "tuned")
    return tmp_path / "tuned"


def test_a_fine_tuned_base_is_merged_and_the_idm_left_out(tuned_folder, problems, origin, tmp_path):
    shipped = ship(str(tuned_folder), tmp_path / "merged", problems, origin, storage="float32")
    assert not shipped.idm
    assert shipped.same["float32"] == shipped.compared
    after = load(shipped.folder)
    assert torch.equal(logits(after), logits(load(tuned_folder)))
    assert after.tuned_path is None
    assert "inverse dynamics model is left out" in (shipped.folder / "README.md").read_text()
    with pytest.raises(PrerequisiteError, match="idm_layers is 0"):
        after.require_latents().idm.codes(torch.zeros(1, 3, 16))
    for command in (("policy",), ("guide", "--codes", "idm")):  # before hidden states are computed, or a run begun
        given = ("--model", shipped.folder, "--data", shipped.folder / "README.md", "--output", tmp_path / "run")
        assert main(["train", *command, *map(str, given)]) == 3
        assert not (tmp_path / "run").exists()
    after.save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").require_latents().config.idm_layers == 0


def test_modules_and_changes_are_shipped_without_a_base_that_is_fetched_by_name(
    tuned_folder, problems, origin, tmp_path
):
    shipped = ship(str(tuned_folder), tmp_path / "beside", problems, origin, storage="float32", without_base=True)
    assert not shipped.base
    assert shipped.same["float32"] == shipped.compared
    assert not (shipped.folder / "base").exists()
    after = load(shipped.folder)
    assert torch.equal(logits(after), logits(load(tuned_folder)))
    assert after.base.identity == load(tuned_folder).base.identity
    card = (shipped.folder / "README.md").read_text()
    assert "changes of the base are stored in float32" in card
    assert "in the folder base" not in card
    largest = max(p.stat().st_size for p in shipped.folder.iterdir())
    refused = tmp_path / "refused"
    with pytest.raises(InputError, match=f"a file of {largest:,} bytes"):
        ship(str(tuned_folder), refused, problems, origin, storage="float32", without_base=True, most_bytes=largest - 1)


def test_the_untouched_base_can_be_kept_with_changes_and_idm(tuned_folder, model_folder, problems, origin, tmp_path):
    shipped = ship(str(tuned_folder), tmp_path / "both", problems, origin, storage="float32", keep_untouched_base=True)
    assert shipped.idm
    after = load(shipped.folder)
    assert torch.equal(logits(after), logits(load(tuned_folder)))
    untouched = BaseModel.load(str(shipped.folder / "base"), "cpu", "float32")
    assert torch.equal(untouched.hidden(TOKENS), load(model_folder).base.hidden(TOKENS))
    assert any(key.startswith("idm.") for key in after.require_latents().state_dict())


def test_what_cannot_be_shipped_leaves_the_old_model_as_it_was(model_folder, base_folder, problems, origin, tmp_path):
    ship(str(model_folder), tmp_path / "m", problems, origin)
    sums = (tmp_path / "m" / "SHA256SUMS").read_bytes()
    with pytest.raises(InputError, match="at most 9,999 are shipped"):
        ship(str(model_folder), tmp_path / "m", problems, origin, most_bytes=9_999)
    with pytest.raises(InputError, match="lower-case letters"):
        ship(str(model_folder), tmp_path / "M m", problems, origin)
    with pytest.raises(InputError, match="no problems"):
        ship(str(model_folder), tmp_path / "m", [], origin)
    folder = Path(shutil.copytree(base_folder, tmp_path / "base"))
    tensors = load_file(str(folder / "model.safetensors"))
    tensors["model.norm.weight"][0] = 1e6
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"model\.norm\.weight has numbers that"):
        ship(str(folder), tmp_path / "m", problems, origin, storage="float16")
    assert (tmp_path / "m" / "SHA256SUMS").read_bytes() == sums
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "m", "rows.jsonl"]


def test_a_damaged_base_inside_a_model_is_noticed(model_folder, problems, origin, tmp_path):
    folder = ship(str(model_folder), tmp_path / "m", problems, origin).folder
    weights = folder / "base" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptFileError, match="SHA-256"):
        load(folder)
    write_sums(folder / "base")
    with pytest.warns(UserWarning, match="other weights"):
        load(folder)


def test_the_script_exports_and_asks_for_what_the_card_needs(model_folder, tmp_path):
    spec = importlib.util.spec_from_file_location("ship_model", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    given = [str(model_folder), "tiny-one", "--into", str(tmp_path)]

    def run(*args: object) -> Result:
        return CliRunner().invoke(script.main, [*given, *map(str, args)])

    bare = subprocess.run([sys.executable, str(SCRIPT), *given], capture_output=True, text=True, check=False)
    assert bare.returncode == 2
    assert "--command" in bare.stderr
    done = run("--command", "colasearch train x", "--data", SCRIPT, "--count", 2, "--commit", "abc")
    assert done.exit_code == 0, done.output
    assert "problems: 2" in done.stdout
    assert "commit abc" in (tmp_path / "tiny-one" / "README.md").read_text()
    refused = run("--command", "x", "--data", SCRIPT, "--task", "math")
    assert refused.exit_code == 2
    assert "needs --problems" in refused.stderr
