"""The command line's frame: help, lazy imports, other commands, exit codes of failures."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from colasearch.cli import main as cli
from colasearch.model.known import KNOWN

HELPS = """
import contextlib, io, json, os, sys
from colasearch.cli.main import COMMANDS, main
for name in ("", *COMMANDS):
    if child := os.fork():  # each command is the first of its process
        assert os.waitpid(child, 0)[1] == 0, name
        continue
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([name, "--help"] if name else ["--help"])
    heavy = {"torch", "transformers", "numpy", "sympy", "ray", "rich", "math_verify"} & sys.modules.keys()
    print(json.dumps({"name": name, "code": code, "out": out.getvalue(), "heavy": sorted(heavy)}), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def helps():
    """What each command's ``--help`` prints and imports, by name; the whole's is that of ''."""
    done = subprocess.run([sys.executable, "-c", HELPS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_help_imports_nothing_heavy(helps):
    assert (helps[""]["code"], helps[""]["heavy"]) == (0, [])
    for name in cli.COMMANDS:
        assert name in helps[""]["out"]


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help_without_loading_torch_or_showing_its_markup(helps, name):
    assert helps[name]["code"] == 0
    assert "torch" not in helps[name]["heavy"]
    assert "Usage:" in helps[name]["out"]
    assert "\\b" not in helps[name]["out"]


def test_unknown_commands_are_usage_errors(colasearch):
    done = colasearch("slove")
    assert done.returncode == 2
    assert "'slove'. Did you mean solve or serve?" in done.stderr


@pytest.mark.parametrize(("args", "near"), [(("train", "polcy"), "policy"), (("bench", "gsm"), "gsm8k"),
                                            (("experiment", "countdwn"), "countdown")])  # fmt: skip
def test_a_mistyped_command_of_a_group_names_the_near_ones(colasearch, args, near):
    done = colasearch(*args)
    assert done.returncode == 2
    assert "Did you mean " in done.stderr
    assert near in done.stderr.partition("Did you mean")[2]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("solve", "absent.txt"), 2),
        (("verify", "absent.jsonl"), 2),
        (("bench", "svamp", "--data", "absent.jsonl"), 2),
        (("train", "rl", "--model", "m", "--data", "absent.jsonl", "--output", "o"), 2),
        (("iterate", "--data", "absent.jsonl", "--output", "o"), 2),
        (("view", "absent"), 2),
        (("export", "absent"), 2),
        (("compare", "absent", "absent"), 2),
        (("solve", "-", "--config", "{config}"), 3),
        (("bench", "svamp", "--config", "{config}"), 3),
        (("solve", "-", "--config", "absent.yaml"), 3),
        (("solve", "-", "--config", "{value}"), 3),
    ],
)
def test_one_kind_of_mistake_has_one_exit_code(colasearch, tmp_path, args, code):
    (tmp_path / "config.yaml").write_text("simss: 4\n")
    (tmp_path / "value.yaml").write_text("sims: many\n")
    given = [a.format(config=tmp_path / "config.yaml", value=tmp_path / "value.yaml") for a in args]
    done = colasearch(*given, stdin=b"What is 2 + 2?")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_env_and_models_print_json(colasearch):
    env = json.loads(colasearch("env", "--json").stdout)
    assert env["python"] == sys.version.split()[0]
    models = json.loads(colasearch("models", "--json").stdout)
    assert [m["name"] for m in models["models"]] == sorted(KNOWN)


def test_fetch_of_an_unknown_model_is_exit_3(colasearch):
    done = colasearch("models", "fetch", "no such")
    assert done.returncode == 3
    assert "unknown model" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 5, "runs/x"),
        (MemoryError(), 5, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_become_exit_codes(monkeypatch, capsys, error, code, says):
    def fail(**kwargs: object) -> None:
        raise error

    monkeypatch.setattr(cli.group, "main", fail)
    assert cli.main([]) == code
    assert says in capsys.readouterr().err


def test_every_source_folder_is_packaged():
    """A sub-package that pyproject.toml forgets works in an editable install and is missing from the wheel."""
    import tomllib
    from pathlib import Path

    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    homes = {"colasearch": root / "colasearch", **{k: root / v for k, v in project["package-dir"].items()}}
    found = set()
    for package, home in homes.items():
        for init in home.rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(home).parts]))
    assert found == set(project["packages"])


def test_models_are_named_used_and_forgotten_but_never_deleted(colasearch, base_folder, tmp_path, monkeypatch):
    from tiny_gguf import write_gguf

    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    file = write_gguf(tmp_path / "own.gguf", "qwen2", "Q8_0")
    for name, path in (("mine", base_folder), ("quantised", file)):
        assert colasearch("models", "add", name, str(path)).returncode == 0
    fetched = colasearch("models", "fetch", "quantised")
    assert fetched.returncode == 0, fetched.stderr
    rows = {row["name"]: row for row in json.loads(colasearch("models", "--json").stdout)["models"]}
    assert rows["countdown-tiny"]["tasks"] == ["countdown"]
    assert rows["mine"]["path"] == str(base_folder.resolve())
    assert rows["mine"]["fits"] is True
    assert rows["mine"]["disk_bytes"] > 0
    converted = rows["quantised"]["cached"]
    assert Path(converted).is_dir()
    for name in ("mine", "quantised"):
        assert name in colasearch("models").stdout
        assert "--yes" in colasearch("models", "remove", name).stderr
        assert colasearch("models", "remove", name, "--yes").returncode == 0
        assert colasearch("models", "remove", name, "--yes").returncode == 2
    assert not Path(converted).exists()
    assert file.is_file()
    assert (base_folder / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["smollm2-135m", "bad name", "x.gguf", "-x"])
def test_a_model_is_not_given_a_name_that_means_something_else(colasearch, base_folder, name):
    assert colasearch("models", "add", "--", name, str(base_folder)).returncode == 2
