"""The ``colasearch train`` commands beyond the two stages, run in this process on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colasearch.cli.main import main
from colasearch.model.latent_lm import LatentLM

COMMON = ("--threads", 1, "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"problem": f"{i}+{i}?", "answer": str(2 * i), "solution": f"It is {2 * i}."} for i in range(30)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture
def call(capsys):
    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in args])
        return code, *capsys.readouterr()

    return run


def report(result: tuple[int, str, str]) -> dict:
    code, out, err = result
    assert code == 0, err
    return json.loads(out.strip().splitlines()[-1])


def steps(folder: Path, key: str) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row[key] for row in rows if key in row]


@pytest.mark.parametrize("codes", ["idm", "policy"])
def test_guide(call, model_folder, texts, tmp_path, codes):
    args = (
        "train", "guide", "--model", model_folder, "--data", texts, "--output", tmp_path / "g", "--codes", codes,
        "--rank", 2, "--lr", 0.01, "--epochs", 4, "--batch-tokens", 512, "--warmup-steps", 1, "--heldout", 0.3,
        "--tensorboard", *COMMON,
    )  # fmt: skip
    done = report(call(*args))
    assert done["heldout"]["wm_ce"] < done["heldout"]["before_wm_ce"]
    lm = LatentLM.from_pretrained(done["model"], "cpu", "float32")
    assert lm.require_latents().config.tuned.kind == "lora"
    assert "Stage: guide" in (Path(done["model"]) / "README.md").read_text()
    assert list((tmp_path / "g" / "tensorboard").glob("events*"))
    # A finished run that is resumed does nothing again and says the same.
    assert report(call(*args, "--resume"))["heldout"] == pytest.approx(done["heldout"], abs=1e-5)
    code, _, err = call(*args)
    assert code == 2
    assert "--resume" in err
