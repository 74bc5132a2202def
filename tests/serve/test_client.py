"""What the official ``openai`` client gets from a server of ``countdown-tiny``, held against ``solve``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from loopback import Served, serving

from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.model.latent_lm import LatentLM
from colasearch.serve.chat import Message, problem_of_chat
from colasearch.solving import search_one
from colasearch.tasks import get_task
from colasearch.tasks.reading import parse_problem

ASKED = ("Make 24 from 3, 5, 9.", "Make 30 from 2, 6, 9.")
MANY = "Make 52 from 4, 7, 8."
"""Has several answers."""
WORLD = WorldConfig(max_tokens=40)
SETTINGS = SearchSettings(sims=4, world=WORLD)


@pytest.fixture(scope="module")
def lm() -> LatentLM:
    torch.set_num_threads(1)
    return LatentLM.from_pretrained("countdown-tiny", "cpu", run_only=True)


@pytest.fixture(scope="module")
def served(lm: LatentLM) -> Iterator[Served]:
    with serving(lm, SETTINGS, max_tokens=40, api_key="key") as one:
        yield one


@pytest.fixture(scope="module")
def sampled(lm: LatentLM) -> Iterator[Served]:
    with serving(lm, replace(SETTINGS, actions="sampled"), max_tokens=40) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Any:
    return served.client(api_key="key")


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "seconds"}


@pytest.mark.parametrize("actions", ["latent", "sampled"])
def test_answers_beside_others_are_those_that_solve_gives_alone(lm, served, sampled, actions):
    hot, cold = (
        replace(WORLD, sampling=replace(WORLD.sampling, temperature=heat, token_temperature=heat))
        for heat in (1.5, 0.01)
    )
    wanted = [
        ("countdown-tiny", ASKED[0], {}, SETTINGS),
        ("countdown-tiny:best-of-3", ASKED[0], {}, replace(SETTINGS, searcher="best_of_n", sims=3)),
        ("countdown-tiny:puct-3", ASKED[1], {"seed": 7}, replace(SETTINGS, searcher="puct", sims=3, seed=7)),
        ("countdown-tiny", ASKED[1], {"max_tokens": 20}, replace(SETTINGS, world=replace(WORLD, max_tokens=20))),
        ("countdown-tiny:majority-3", ASKED[0], {"seed": 7}, replace(SETTINGS, searcher="majority", sims=3, seed=7)),
        ("countdown-tiny", ASKED[0], {"temperature": 1.5}, replace(SETTINGS, world=hot)),
        ("countdown-tiny", ASKED[1], {"temperature": 0}, replace(SETTINGS, world=cold)),
    ]  # fmt: skip
    wanted = wanted if actions == "latent" else wanted[:2]
    server = served if actions == "latent" else sampled

    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="key", timeout=300, max_retries=0) as asked:
            create = asked.chat.completions.create
            calls = [create(model=model, messages=user(text), **more) for model, text, more, _ in wanted]
            return list(await asyncio.gather(*calls))

    for answer, (model, text, _, settings) in zip(asyncio.run(ask()), wanted, strict=True):
        alone = search_one(lm, parse_problem(text), replace(settings, actions=actions)).result
        assert untimed(answer.colasearch) == untimed(json.loads(json.dumps(alone.to_json()))), model
        assert answer.choices[0].message.content == alone.text
        assert answer.usage.completion_tokens == alone.generated_tokens > 0
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert answer.model == model


def test_a_stream_tells_progress_then_the_same_text_then_the_tokens(client):
    whole = client.chat.completions.create(model="countdown-tiny", messages=user(ASKED[0]))
    assert whole.choices[0].message.content
    stream = client.chat.completions.create(
        model="countdown-tiny", messages=user(ASKED[0]), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    *rest, last = chunks
    assert chunks[0].choices[0].delta.role == "assistant"
    deltas = [chunk.choices[0].delta for chunk in rest]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert "/4 simulations" in thoughts
    assert [chunk.choices[0].finish_reason for chunk in rest if chunk.choices[0].finish_reason] == ["stop"]
    assert (last.choices, last.usage) == ([], whole.usage)
    assert {chunk.id for chunk in chunks} == {last.id}
    assert untimed(rest[-1].colasearch) == untimed(whole.colasearch)
    plain = client.chat.completions.create(model="countdown-tiny:greedy", messages=user(ASKED[0]), stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in plain)


def test_n_gives_the_best_texts_of_different_answers(lm, client):
    asked = {"model": "countdown-tiny:best-of-8", "messages": user(MANY)}
    found = search_one(lm, parse_problem(MANY), replace(SETTINGS, searcher="best_of_n", sims=8)).result
    texts = [one.text for one in found.candidates]
    assert len(set(texts)) == len(texts) > 2
    some = client.chat.completions.create(**asked, n=2)
    assert [(choice.index, choice.message.content) for choice in some.choices] == list(enumerate(texts[:2]))
    streamed: dict[int, str] = {}
    for chunk in client.chat.completions.create(**asked, n=100, stream=True):  # so many there are not
        for choice in chunk.choices:
            streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")
    assert list(streamed.items()) == list(enumerate(texts))


def test_stop_cuts_texts(client):
    asked = {"model": "countdown-tiny:greedy", "messages": user(ASKED[0])}
    text = client.chat.completions.create(**asked).choices[0].message.content
    cut = client.chat.completions.create(**asked, stop=["\n", "nowhere"]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (text.partition("\n")[0], "stop")
    assert "\n" in text


def test_models_are_listed_and_found(client):
    names = [model.id for model in client.models.list()]
    assert names[0] == "countdown-tiny"
    assert {"countdown-tiny:gumbel-4", "countdown-tiny:greedy", "countdown-tiny:best-of-n-4"} < set(names)
    for name in (*names, "countdown-tiny:beam-12"):
        assert client.models.retrieve(name).id == name
    for name in ("gpt-4", "countdown-tiny:", "countdown-tiny:gumble-8", "countdown-tiny:8"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)
    with pytest.raises(openai.NotFoundError, match="Did you mean gumbel") as error:
        client.chat.completions.create(model="countdown-tiny:gumble-8", messages=user("1+1?"))
    assert (error.value.code, error.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="1 to 1000"):
        client.chat.completions.create(model="countdown-tiny:gumbel-1001", messages=user("1+1?"))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 0}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 41}, "max_tokens"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, "max_tokens"),
        ({"top_p": 0.5}, "top_p"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"messages": []}, "messages"),
        ({"messages": [*user("1+1?"), {"role": "assistant", "content": "2"}]}, "messages"),
        ({"messages": [*user("1+1?"), {"role": "system", "content": "2"}, *user("3?")]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": user(" ")}, "messages"),
        ({"messages": user('[{"problem": "1+1?"}, {"problem": "2+2?"}]')}, "messages"),
        ({"messages": user('{"problem": "1+1?", "messages": []}')}, "messages"),
        ({"messages": user("half of a pair: \ud800")}, "messages"),
        ({"messages": user("long " * 5000)}, "messages"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_obeyed_is_refused_with_the_field_that_says_so(client, more, param):
    body = {"model": "countdown-tiny", "messages": user(ASKED[0])} | more
    if "ud800" in ascii(body):  # the client itself cannot send it
        with pytest.raises(UnicodeEncodeError):
            client.chat.completions.create(**body)
        return
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**body)
    assert error.value.param == param
    assert error.value.type == "invalid_request_error"
    assert error.value.body["message"]


def test_what_asks_for_nothing_is_let_through(client):
    neutral = {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "user": "me", "metadata": {"a": "b"},
               "response_format": {"type": "text"}, "store": False, "stop": None, "temperature": 0}  # fmt: skip
    answer = client.chat.completions.create(model="countdown-tiny:greedy", messages=user(ASKED[0]), **neutral)
    assert answer.choices[0].message.content


def test_the_key_is_asked_for(served):
    for key in ("other", "ké"):
        with pytest.raises((openai.AuthenticationError, UnicodeEncodeError)):
            served.client(api_key=key).models.list()


def test_logprobs_are_those_of_the_base_for_texts_drawn_from_it(lm, sampled):
    client = sampled.client()
    asked = {"model": "countdown-tiny:greedy", "messages": user(ASKED[0]), "logprobs": True}
    choice = client.chat.completions.create(**asked).choices[0]
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    trace = search_one(
        lm, parse_problem(ASKED[0]), replace(SETTINGS, searcher="greedy", actions="sampled")
    ).trace  # fmt: skip
    row = [*trace.prompt_tokens, *trace.nodes[1].tokens]
    hidden = lm.base.hidden(torch.tensor([row]))
    every = torch.log_softmax(lm.base.logits(hidden[0]).float(), -1)
    start = len(trace.prompt_tokens)
    mine = [float(every[start + i - 1, row[start + i]]) for i in range(len(choice.logprobs.content))]
    assert [one.logprob for one in choice.logprobs.content] == pytest.approx(mine, abs=1e-4)
    assert all(one.logprob == pytest.approx(float(every[start + i - 1].max()), abs=1e-4)
               for i, one in enumerate(choice.logprobs.content))  # fmt: skip
    cut = client.chat.completions.create(**asked, stop="\n").choices[0]
    assert "".join(one.token for one in cut.logprobs.content) == cut.message.content
    with pytest.raises(openai.BadRequestError, match="whole texts"):
        client.chat.completions.create(**{**asked, "model": "countdown-tiny"})


def test_a_chat_is_another_problem_whose_prompt_has_all_that_was_said(served, client):
    alone = client.chat.completions.create(model="countdown-tiny:greedy", messages=user(ASKED[0]))
    turns = [{"role": "developer", "content": "Be brief."}, *user(ASKED[1]), {"role": "assistant", "content": "3*5+9"}]
    asked = {"model": "countdown-tiny:greedy", "messages": [*turns, *user(ASKED[0])]}
    whole, again = (client.chat.completions.create(**asked) for _ in range(2))
    assert whole.usage.prompt_tokens > alone.usage.prompt_tokens
    assert untimed(again.colasearch) == untimed(whole.colasearch)
    assert whole.colasearch["problem_id"] != alone.colasearch["problem_id"]
    assert whole.colasearch["task"] == "countdown"


def test_the_task_words_the_last_message_and_leaves_the_others():
    messages = (Message("system", "Be brief."), Message("user", "Hi!"), Message("assistant", "Hello."))
    problem = problem_of_chat((*messages, Message("user", "What is 2+2?")), None)
    said = get_task("math").messages(problem)
    assert [(one["role"], one["content"].partition("\n")[0]) for one in said] == [
        *((one.role, one.content) for one in messages), ("user", "What is 2+2?"),
    ]  # fmt: skip
    assert "boxed" in said[-1]["content"]
    assert problem_of_chat((Message("user", "What is 2+2?"),), None) == parse_problem("What is 2+2?")


def test_a_system_message_stands_in_for_the_task_s_own(tmp_path):
    from colasearch.tasks import settled

    file = Path(tmp_path) / "polite.yaml"
    file.write_text("system: Be polite.\nrequest: 'Please: {problem}'\n")
    task, ask = settled(str(file)), Message("user", "What is 2+2?")
    for told, system in (((), "Be polite."), ((Message("user", "Hi!"),), "Be polite."),
                         ((Message("system", "Be rude."),), "Be rude.")):  # fmt: skip
        said = get_task(task).messages(problem_of_chat((*told, ask), task))
        assert [one["content"] for one in said if one["role"] == "system"] == [system]
        assert said[0]["role"] == "system"
        assert said[-1]["content"] == "Please: What is 2+2?"


def test_the_document_s_python_runs(lm, capsys):
    text = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    with serving(lm, SETTINGS) as served:
        space: dict[str, object] = {}
        for block in blocks:
            assert "127.0.0.1:8000" in block or "OpenAI(" not in block
            exec(block.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}"), space)
    out = capsys.readouterr().out
    assert "finished texts" in out
    assert " tokens\n" in out
