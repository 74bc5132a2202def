"""Latent modules on the hub: pushed to a hub of our own with the hub's own client, and loaded from there by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_server import COMMIT, serving

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.card import hub_name_of, model_card
from colasearch.model.config import BaseIdentity
from colasearch.model.folders import latents_folder
from colasearch.model.latent_lm import LatentLM, load_latents, new_latents, save_latents
from colasearch.model.sharing import add_base, shared_card


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[tuple[Path, list[str]]]:
    """A hub that the client in this process talks to: its folder, and the cards that it looked at."""
    constants = huggingface_hub.constants
    with serving(tmp_path / "hub") as (address, cards):
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in (
            *(("ENDPOINT", address), ("HUGGINGFACE_CO_URL_TEMPLATE", template), ("HF_HUB_OFFLINE", False)),
            *(("HF_HUB_CACHE", str(tmp_path / "cache")), ("HF_HUB_DISABLE_XET", True)),
        ):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield tmp_path / "hub", cards


def test_a_pushed_model_is_loaded_by_its_name_then_also_offline(hub, model_folder, base_folder, monkeypatch):
    root, cards = hub
    own = LatentLM.from_pretrained(str(model_folder), device="cpu")
    address = own.push_to_hub("owner/pushed", private=True, commit_message="first")
    assert address.endswith(f"/owner/pushed/commit/{COMMIT}")
    head = huggingface_hub.ModelCard(cards[0]).data
    assert (head.library_name, head.pipeline_tag, head.base_model) == ("colasearch", "text-generation", None)
    assert {"colasearch", "latent-actions", "arxiv:2503.21383"} <= set(head.tags)
    assert "| codes | 8 |" in cards[0]
    told = json.loads((root / "owner/pushed/config.json").read_text())
    assert told["base"]["name"] == base_folder.name, "no path of this machine is pushed"
    weights = root / "owner/pushed/base/model.safetensors"
    assert weights.read_bytes() == (base_folder / "model.safetensors").read_bytes()

    loaded = LatentLM.from_pretrained("owner/pushed", device="cpu")
    same(loaded, own)
    assert loaded.card == cards[0]
    shutil.rmtree(root)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    same(LatentLM.from_pretrained("owner/pushed", device="cpu"), own)
    same(LatentLM.from_pretrained(f"owner/pushed@{COMMIT}", device="cpu"), own)
    folder = latents_folder("owner/pushed")
    assert folder is not None
    assert folder.name == COMMIT, "what looks for a model's folder finds the one that was fetched"
    with pytest.raises(PrerequisiteError, match="owner/other"):
        LatentLM.from_pretrained("owner/other", device="cpu")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.resolve().write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"model\.safetensors"):
        LatentLM.from_pretrained("owner/pushed", device="cpu")


def same(one: LatentLM, other: LatentLM) -> None:
    assert one.base.identity.sha256 == other.base.identity.sha256
    for key, value in other.require_latents().state_dict().items():
        torch.testing.assert_close(one.require_latents().state_dict()[key], value)


def test_a_revision_that_the_hub_has_not_is_told(hub, base_folder):
    root, _ = hub
    shutil.copytree(base_folder, root / "owner/plain")
    assert LatentLM.from_pretrained("owner/plain", device="cpu").latents is None
    with pytest.raises(PrerequisiteError, match="owner/absent"):
        LatentLM.from_pretrained("owner/absent@main", device="cpu")


def test_only_a_base_of_the_hub_is_named_in_the_card(base, tmp_path):
    config = new_latents(base, seed=1, num_codes=4).config
    for identity, name in (
        (BaseIdentity("smollm2-135m"), "HuggingFaceTB/SmolLM2-135M-Instruct"),
        (BaseIdentity("countdown-tiny"), None),
        (BaseIdentity("owner/model", revision="abc"), "owner/model"),
        (BaseIdentity("owner/model@v1", revision="abc"), "owner/model"),
        (BaseIdentity("runs/model"), None),
        (BaseIdentity("/home/me/model"), None),
    ):
        assert hub_name_of(identity) == name
        card = model_card(dataclasses.replace(config, base=identity))
        assert huggingface_hub.ModelCard(card).data.base_model == name


def test_a_card_of_the_user_s_own_is_kept_and_gets_the_hub_s_metadata(base):
    config = new_latents(base, seed=1, num_codes=4).config
    assert shared_card(config, "# Mine\n").endswith("---\n\n# Mine\n")
    assert shared_card(config, "---\nlicense: mit\n---\n# Mine\n") == "---\nlicense: mit\n---\n# Mine\n"
    assert "in the folder base" in shared_card(config, "")


def test_a_base_that_others_have_is_not_pushed(base, tmp_path):
    modules = new_latents(base, seed=1, num_codes=4)
    save_latents(modules, tmp_path / "m")
    known = dataclasses.replace(modules.config, base=BaseIdentity("smollm2-135m"))
    add_base(tmp_path / "m", known)
    assert not (tmp_path / "m" / "base").exists()
    assert load_latents(tmp_path / "m").config == modules.config


READ = """
import sys, json
import colasearch
assert "transformers" not in sys.modules, "import colasearch stays light"
import colasearch.model.auto
from transformers import AutoConfig
config = AutoConfig.from_pretrained(sys.argv[1])
assert type(config).__name__ == "LatentAutoConfig", config
assert config.model_type == "colasearch-latent"
assert config.num_codes == config.latent.num_codes == 8
assert config.rope_scaling == config.latent.rope_scaling
config.save_pretrained(sys.argv[2])
"""


def test_transformers_reads_our_config_and_writes_it_as_it_was(model_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", READ, model_folder, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads((model_folder / "config.json").read_text())
