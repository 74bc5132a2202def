"""Texts by vLLM: what we ask of it is what it has, and what comes back are texts as our own engine writes them."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import replace

import fake_vllm
import pytest
from tiny import make_base

from colasearch.benchmarks.harness.samples import Sampler
from colasearch.cli.main import main
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.engine.vllm import VllmTexts, seed_of
from colasearch.errors import PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem

PROBLEMS = [Problem.from_text(text) for text in ("What is 2 + 3?", "What is 4 * 9?")]
WORLD = WorldConfig(max_tokens=12, sampling=Sampling(token_temperature=0.9, token_top_k=9), backend="vllm")
INSTALLED = importlib.util.find_spec("vllm") is not None


@pytest.fixture
def plain(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm)
    return LatentLM("plain", BaseModel.load(str(make_base(tmp_path / "base")), dtype="float32"), None)


@pytest.mark.parametrize(
    "name", ["fake", pytest.param("real", marks=pytest.mark.skipif(not INSTALLED, reason="no vLLM"))]
)
def test_vllm_has_what_we_ask_of_it(name):
    """The contract, on the stand-in and, where it is installed, on vLLM itself."""
    import colasearch.engine.vllm as ours

    source = inspect.getsource(ours.VllmTexts)
    there = fake_vllm if name == "fake" else __import__("vllm")
    for of, names in (
        (there.SamplingParams, "temperature top_k top_p seed max_tokens stop_token_ids logprobs detokenize"),
        (there.LLM.generate, "use_tqdm"),
    ):
        known = inspect.signature(of).parameters
        for one in names.split():
            assert f"{one}=" in source
            assert one in known
    assert list(inspect.signature(there.LLM.generate).parameters)[1:3] == ["prompts", "sampling_params"]


def test_greedy_texts_are_those_of_our_own_engine(plain):
    both = {}
    for backend in ("own", "vllm"):
        world = replace(WORLD, backend=backend)
        both[backend] = Sampler(plain, PROBLEMS, world, 0, "sampled", greedy=True).draw([(0, 0), (1, 0)])
    assert both["vllm"] == both["own"]


def test_samples_are_fixed_by_seed_problem_and_number(plain):
    sampler = Sampler(plain, PROBLEMS, WORLD, 0, "sampled")
    first = sampler.draw([(0, 0), (0, 1), (1, 0)])
    assert sampler.actor.generated_tokens == sum(len(one.tokens) for one in first)
    assert Sampler(plain, PROBLEMS, WORLD, 0, "sampled").draw([(1, 0), (0, 1), (0, 0)]) == first[::-1]
    assert Sampler(plain, PROBLEMS, WORLD, 1, "sampled").draw([(0, 0)]) != first[:1]
    assert len({one.tokens for one in first}) == 3
    how = fake_vllm.LLM.made[-1].asked[0]
    assert (how.temperature, how.top_k, how.max_tokens) == (0.9, 9, 12)
    assert how.seed == seed_of((0, PROBLEMS[0].id, "sample", 0))


def test_a_text_ends_at_its_box_and_has_log_probs(plain):
    texts = VllmTexts(plain.base)
    never, third = (lambda tokens: False), (lambda tokens: len(tokens) == 3)
    whole, cut = texts.write([[5, 6]] * 2, [("a",)] * 2, [never, third], WORLD.sampling, 8)
    assert (cut.tokens, cut.ended) == (whole.tokens[:3], True)
    assert not whole.ended
    assert len(cut.log_probs) == 3
    assert max(cut.log_probs) <= 0


def test_a_base_that_was_changed_is_handed_over_as_it_is_now(plain):
    plain.base.folder = None
    plain.base.model.model.embed_tokens.weight.data.mul_(-1)
    texts = VllmTexts(plain.base)
    assert (texts.engine.model.model.embed_tokens.weight == plain.base.model.model.embed_tokens.weight).all()


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed")
def test_without_vllm_the_error_says_what_to_install(plain, monkeypatch):
    monkeypatch.delitem(sys.modules, "vllm")
    with pytest.raises(PrerequisiteError, match=r"'\.\[vllm\]'"):
        Sampler(plain, PROBLEMS, WORLD, 0, "sampled")


def test_codes_are_not_for_vllm(capsys):
    assert main(["bench", "countdown", "--backend", "vllm"]) == 2
    assert "--actions sampled" in capsys.readouterr().err
