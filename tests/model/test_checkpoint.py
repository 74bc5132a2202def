"""Checkpoint folders: round trip, and every kind of damage."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.latent_lm import LatentLM, load_latents, new_latents, save_latents
from colasearch.storage.files import write_sums


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def test_round_trip_keeps_every_tensor_to_half_precision(base, tmp_path):
    modules = new_latents(base, seed=5, num_codes=8, value_hidden=4, q_head=True, training={"note": 1})
    save_latents(modules, tmp_path / "m", card="# card\n")
    loaded = load_latents(tmp_path / "m")
    assert loaded.config == modules.config
    for key, value in modules.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value.half().float())
    assert (tmp_path / "m" / "README.md").read_text() == "# card\n"


def test_saving_over_a_checkpoint_replaces_it_whole(base, tmp_path):
    save_latents(new_latents(base, seed=5, num_codes=8), tmp_path / "m")
    (tmp_path / "m" / "stray").write_text("x")
    save_latents(new_latents(base, seed=6, num_codes=4), tmp_path / "m")
    assert load_latents(tmp_path / "m").config.num_codes == 4
    assert not (tmp_path / "m" / "stray").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_from_pretrained_finds_the_base_that_the_config_names(model_folder, base):
    loaded = LatentLM.from_pretrained(str(model_folder), device="cpu")
    assert loaded.base.identity.sha256 == base.identity.sha256
    assert loaded.num_codes == 8


FILES = ("model.safetensors", "config.json")
REMEDY = "copy the folder again from its source, or train it anew"


def places(data: bytes) -> list[int]:
    """100 offsets into a file: its first and last byte, and 98 between."""
    return [round(number * (len(data) - 1) / 99) for number in range(100)]


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit % 8]) + data[place + 1 :]


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(folder, name):
    path = folder / name
    data = path.read_bytes()
    for place in places(data):
        path.write_bytes(data[:place])
        with pytest.raises(CorruptFileError, match=f"{re.escape(str(path))} is damaged: .*{REMEDY}"):
            load_latents(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_noticed_at_any_place(folder, name):
    path = folder / name
    data = path.read_bytes()
    for number, place in enumerate(places(data)):
        path.write_bytes(flipped(data, place, number))
        with pytest.raises(CorruptFileError, match=f"{re.escape(str(path))} is damaged: .*{REMEDY}"):
            load_latents(folder)


def test_a_list_of_sums_that_is_cut_or_flipped_is_refused_too(folder):
    path = folder / "SHA256SUMS"
    data = path.read_bytes()
    needed = data[data.index(b"config.json") - 66 :].rstrip()  # before it may stand the card, which nobody reads
    start = len(data.rstrip()) - len(needed)
    for number, place in enumerate(places(needed)):
        for spoilt in (data[: start + place], flipped(data, start + place, number)):
            path.write_bytes(spoilt)
            with pytest.raises(CorruptFileError, match=re.escape(str(folder))):
                load_latents(folder)


def test_missing_and_extra_tensors_are_refused(folder):
    path = folder / "model.safetensors"
    tensors = load_file(str(path))
    for change in ("missing", "extra"):
        changed = dict(tensors)
        if change == "missing":
            changed.pop("codebook.weight")
        else:
            changed["stranger"] = torch.zeros(1)
        save_file(changed, str(path))
        write_sums(folder)
        with pytest.raises(CorruptFileError, match="codebook" if change == "missing" else "stranger"):
            load_latents(folder)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("num_codes", 4, "codebook"),
        ("schema", 99, "schema 99"),
        ("output_form", "other", "output_form"),
        ("hidden_size", "16", "hidden_size"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, field, value, says):
    config = json.loads((folder / "config.json").read_text())
    config[field] = value
    (folder / "config.json").write_text(json.dumps(config))
    write_sums(folder)
    with pytest.raises(CorruptFileError, match=says):
        load_latents(folder)


def test_a_pickle_under_the_safetensors_name_is_refused_unread(folder, tmp_path):
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (marker,))

    torch.save({"codebook.weight": Bomb()}, folder / "model.safetensors")
    write_sums(folder)
    with pytest.raises(CorruptFileError, match="damaged"):
        load_latents(folder)
    assert not marker.exists()


def test_a_base_of_another_shape_is_refused(folder, tmp_path):
    from tiny import make_base

    other = make_base(tmp_path / "other", hidden_size=32)
    config = json.loads((folder / "config.json").read_text())
    config["base"]["name"] = str(other)
    (folder / "config.json").write_text(json.dumps(config))
    write_sums(folder)
    with pytest.raises(CorruptFileError, match="hidden size 16"):
        LatentLM.from_pretrained(str(folder), device="cpu")


def test_a_base_with_other_weights_is_used_with_a_warning(folder, tmp_path):
    from tiny import make_base

    other = make_base(tmp_path / "other", seed=9)
    config = json.loads((folder / "config.json").read_text())
    config["base"]["name"] = str(other)
    (folder / "config.json").write_text(json.dumps(config))
    write_sums(folder)
    with pytest.warns(UserWarning, match="other weights"):
        LatentLM.from_pretrained(str(folder), device="cpu")


def test_a_model_without_latents_says_how_to_get_them(base_folder):
    plain = LatentLM.from_pretrained(str(base_folder), device="cpu")
    with pytest.raises(PrerequisiteError, match="--actions sampled"):
        plain.require_latents()


def test_a_base_named_by_a_relative_path_is_found_from_elsewhere(tmp_path, monkeypatch):
    from tiny import make_base

    from colasearch.model.base import BaseModel

    run = tmp_path / "run"
    make_base(run / "stages" / "base")
    monkeypatch.chdir(run)
    base = BaseModel.load("stages/base", "cpu", "float32")
    save_latents(new_latents(base, seed=1, num_codes=4), run / "stages" / "policy" / "model")
    assert LatentLM.from_pretrained("stages/policy/model", "cpu", "float32").base.identity.name == "stages/base"
    monkeypatch.chdir(tmp_path)
    lm = LatentLM.from_pretrained("run/stages/policy/model", "cpu", "float32")
    assert lm.base.identity.sha256 == base.identity.sha256
    # What is trained from it elsewhere must find the base again.
    lm.save_pretrained(tmp_path / "other" / "model")
    monkeypatch.chdir("/")
    again = LatentLM.from_pretrained(str(tmp_path / "other" / "model"), "cpu", "float32")
    assert again.base.identity.sha256 == base.identity.sha256
