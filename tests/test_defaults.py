"""What model and task settle: length of texts, sampling, thoughts, system texts; the engine against transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import CHAT, make_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from colasearch import tasks
from colasearch.benchmarks.measurements.transformers_greedy import by_engine, by_transformers, first_difference
from colasearch.cli.train.settings import Problems
from colasearch.defaults import sampling_for, sampling_said, text_limit
from colasearch.engine.settings import Sampling
from colasearch.engine.texts.choosing import states_false
from colasearch.engine.texts.ends import TextEnds
from colasearch.model.base import BaseModel
from colasearch.model.ends import encode
from colasearch.model.latent_lm import LatentLM
from colasearch.model.policy import sampling_log_probs
from colasearch.problem import Problem
from colasearch.tasks import TASKS, get_task, prompt_text
from colasearch.verifiers import extract_answer

END_IDS = [0, 5, 17]
SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}<s>{{ messages[0]['content'] }}</s>{% else %}<s>You are Tiny.</s>"
    "{% endif %}{% for m in messages if m['role'] == 'user' %}<user>{{ m['content'] }}</user>{% endfor %}"
    "{% if add_generation_prompt %}<solution>{% endif %}"
)


def like_qwen(folder: Path, context: int) -> BaseModel:
    """A random Qwen2 with a default system text and three end tokens; at this seed greedy texts end with several."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = SYSTEM
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=context, initializer_range=0.6, bos_token_id=None,
        eos_token_id=END_IDS, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return BaseModel.load(str(folder), "cpu", "float32")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    torch.set_num_threads(1)
    return like_qwen(tmp_path_factory.mktemp("models") / "qwen", 4096)


def with_config(base: BaseModel, **settings: Any) -> BaseModel:
    """The base as if its generation_config.json said so."""
    return replace(base, model=SimpleNamespace(generation_config=SimpleNamespace(**settings), config=base.model.config))


def test_greedy_texts_are_those_of_transformers_token_by_token(base):
    problems = [Problem.from_text(f"What is {i}+{i * i}?") for i in range(10)]
    ours = by_engine(LatentLM("qwen", base, None), problems, 40)
    theirs = by_transformers(base.model, base.tokenizer, problems, 40)
    assert [first_difference(a.tokens, b.tokens) for a, b in zip(ours, theirs, strict=True)] == [None] * 10
    assert [a.tokens for a in ours] == [b.tokens for b in theirs]
    assert [a.cut for a in ours] == [b.cut for b in theirs]
    ends = {a.tokens[-1] for a in ours if not a.cut}
    assert len(ends) > 1
    assert ends <= set(END_IDS)
    assert first_difference((3, 4, 5), (3, 4)) == 2


def test_the_limit_is_the_task_s_within_half_of_the_context(base, tmp_path):
    assert text_limit(base, ["math"]) == TASKS["math"].text_tokens == 1024
    assert text_limit(like_qwen(tmp_path / "short", 300), ["math"]) == 150
    assert text_limit(replace(base, identity=replace(base.identity, name="smollm2-135m")), ["math"]) == 256
    # Hub name or short name, the weights are the same.
    hub = replace(base.identity, name="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert text_limit(replace(base, identity=hub), ["math"]) == 256


def test_the_longest_task_counts(base, monkeypatch):
    monkeypatch.setitem(TASKS, "countdown", replace(TASKS["countdown"], text_tokens=64))
    assert text_limit(base, ["countdown"]) == 64
    assert text_limit(base, ["countdown", "math"]) == 1024


def test_training_rolls_out_to_the_same_limit(base):
    given = Problems(data=(), task="math")
    lm = LatentLM("qwen", base, None)
    assert given.with_limit(lm).max_new_tokens == text_limit(base, ["math"])
    assert replace(given, max_new_tokens=7).with_limit(lm).max_new_tokens == 7


def thinking(special: bool, template: str = CHAT) -> Any:
    """A tokenizer that has the marks as tokens."""
    tokenizer = make_tokenizer()
    marks = ["<think>", "</think>"]
    tokenizer.add_tokens(marks, special_tokens=special)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("special", [False, True])
def test_a_thinking_model_has_more_room_and_answers_behind_its_thought(base, special):
    tokenizer = thinking(special)
    assert text_limit(replace(base, tokenizer=tokenizer), ["math"]) == 2048  # half of the context; else four times 1024
    ends = TextEnds(tokenizer, frozenset(END_IDS))
    thought = encode(tokenizer, "<think>Is it \\boxed{5}")
    behind = encode(tokenizer, "<think>Is it \\boxed{5}? No.</think>So it is \\boxed{6}")
    assert not ends.is_finished(thought)
    assert ends.is_finished(behind)
    assert (ends.said(thought), ends.said(behind)) == ("", "So it is \\boxed{6}")
    assert extract_answer(ends.decode(behind)) == "6"
    # Without a thought it answers as any model does.
    assert ends.is_finished(encode(tokenizer, "It is \\boxed{5}"))


def test_a_template_that_begins_the_thought_is_known(base):
    tokenizer = thinking(False, CHAT.replace("<solution>", "<solution><think>\n"))
    ends = TextEnds(tokenizer, frozenset(END_IDS))
    assert not ends.is_finished(encode(tokenizer, "Is it \\boxed{5}"))
    assert ends.is_finished(encode(tokenizer, "Is it \\boxed{5}?</think>\\boxed{6}"))


def test_false_statements_in_a_thought_refute_nothing():
    assert states_false(get_task("math"), "3 + 4 = 8.")
    assert not states_false(get_task("math"), "<think>3 + 4 = 8? No.</think>3 + 4 = 7.")
    assert not states_false(get_task("math"), "<think>3 + 4 = 8.", complete=False)
    assert states_false(get_task("math"), "<think>Well.</think>3 + 4 = 8.")


def test_tokens_are_drawn_as_the_generation_config_says_unless_the_user_does(base):
    assert sampling_for(base) == Sampling()
    assert sampling_said(base) is None
    own = with_config(base, temperature=0.6, top_p=0.95, top_k=20, repetition_penalty=1.1)
    assert sampling_for(own) == Sampling(token_temperature=0.6, token_top_k=20, token_top_p=0.95)
    assert sampling_for(own, 1.2) == Sampling(1.2, token_temperature=1.2, token_top_k=20, token_top_p=0.95)
    assert sampling_said(own) == (
        "tokens are drawn as the model's generation_config.json says: temperature 0.6, top-p 0.95, top-k 20; "
        "its repetition_penalty 1.1 is not used"
    )
    assert "temperature" not in str(sampling_said(own, 1.2))
    assert sampling_said(with_config(base, repetition_penalty=1.0)) is None
    # What would be no sampling at all is not taken.
    assert sampling_for(with_config(base, temperature=0.0, top_p=0.0)) == Sampling()


@pytest.mark.parametrize(("top_k", "top_p", "heat"), [(0, 0.8, 1.0), (6, 0.7, 0.5), (6, 1.0, 1.0), (0, 1e-6, 1.0)])
def test_top_k_then_top_p_keep_what_transformers_keeps(top_k, top_p, heat):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)) * 3
    expected = TemperatureLogitsWarper(heat)(None, scores)
    expected = TopKLogitsWarper(top_k)(None, expected) if top_k else expected
    expected = TopPLogitsWarper(top_p)(None, expected).log_softmax(-1)
    found = sampling_log_probs(scores, heat, top_k, top_p=top_p)
    torch.testing.assert_close(found, expected)
    # A scorer that is told what was kept gives the very same numbers.
    torch.testing.assert_close(sampling_log_probs(scores, heat, kept=found > float("-inf")), found)


def test_the_template_s_own_system_text_stays_and_a_task_s_takes_its_place(base, monkeypatch):
    problem = Problem.from_text("What is 3*17?")
    assert prompt_text(base.tokenizer, problem).startswith("<s>You are Tiny.</s><user>What is 3*17?")
    monkeypatch.setitem(tasks.TASKS, "math", replace(TASKS["math"], system="Be brief."))
    assert prompt_text(base.tokenizer, problem).startswith("<s>Be brief.</s><user>What is 3*17?")
    strict = make_tokenizer()
    strict.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHAT
    assert prompt_text(strict, problem).startswith("<user>Be brief.\n\nWhat is 3*17?")
    strict.chat_template = None
    assert prompt_text(strict, problem).startswith("Be brief.\n\nProblem: What is 3*17?")
