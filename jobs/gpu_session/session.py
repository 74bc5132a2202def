"""The session: all stages, each with its share of the time."""

from __future__ import annotations

import argparse
import gzip
import json
import time
from typing import Any

import numpy as np

from colasearch.model.latent_lm import LatentModules
from colasearch.training.data.documents import Document
from gpu_session.answers import reward_texts
from gpu_session.files import keep_texts, save
from gpu_session.qwen2 import Qwen2
from gpu_session.say import say
from gpu_session.training import states_of, train_both, train_value
from gpu_session.writer import Writer


def session(args: argparse.Namespace, base: Qwen2, plan: dict[str, Any]) -> None:
    """All stages; ``plan`` has their seconds and sizes."""
    out, data = args.output, np.load(args.prompts, allow_pickle=False)
    log: list[dict[str, float]] = []
    results: dict[str, Any] = {}
    notes: dict[str, Any] = {"plan": plan, "results": results, "log": log}

    def note() -> None:
        (out / "metrics.json").write_text(json.dumps(notes))

    def ragged(name: str) -> list[list[int]]:
        return [part.tolist() for part in np.split(data[f"{name}_tokens"], data[f"{name}_ends"][:-1])]

    ends = data["ends"].tolist()
    train_prompts, written, tests = ragged("train"), ragged("written"), ragged("test")
    written_prompt = data["written_prompt"].tolist()
    vocabulary = base.w["lm_head.weight"].shape[0]
    longest = max(map(len, [*train_prompts, *tests]))
    writer = Writer(base, plan["rows"], longest, plan["length"], ends)
    checks = writer.write(tests[:4], 0.0, time.monotonic() + 120)
    notes["check"] = checks
    note()
    say(f"greedy check done: {checks[0][:40]}")

    order = np.random.default_rng(0).permutation(len(train_prompts)).tolist()
    asked = [n for n in order for _ in range(plan["samples"])]
    begun = time.monotonic()
    texts = writer.write([train_prompts[n] for n in asked], 1.0, begun + plan["texts"])
    tokens = sum(map(len, texts.values()))
    say(f"own texts: {len(texts)}, {tokens / 1e6:.2f} M tokens, {tokens / (time.monotonic() - begun):.0f} tokens/s")
    own = sorted(texts)
    documents = [
        Document((*train_prompts[asked[n]], *texts[n]), len(train_prompts[asked[n]]), len(train_prompts[asked[n]]))
        for n in own
    ]
    keep_texts(out, [asked[n] for n in own], [texts[n] for n in own])

    sizes = plan["sizes"]
    room = {name: plan[name] for name in ("batch_tokens", "micro_tokens", "code_size", "below", "share")} | {"log": log}
    modules, states, results["own"] = train_both(
        base, documents, sizes, vocabulary, seconds=plan["own"], name="own", **room
    )
    notes["config"] = modules.config.to_dict()
    save(modules, out, {})
    note()

    gold = json.loads(bytes(data["gold"]).decode())
    rewards, of = reward_texts(args.decode, [asked[n] for n in own], [texts[n] for n in own], gold)
    say(f"rewards: mean {np.mean(rewards):.3f} of {len(rewards)}")
    head, results["value"] = train_value(base, states, of, rewards, plan["value_width"], plan["value"])
    tensors = {f"value.{k}": v.detach().half().cpu().contiguous() for k, v in head.state_dict().items()}
    save(modules, out, tensors)
    note()

    test_texts: dict[str, dict[str, Any]] = {}

    def test(name: str, heat: float, samples: int, latents: LatentModules | None) -> None:
        begun = time.monotonic()
        author = writer if latents is None else Writer(
            base, plan["rows"], longest, plan["length"], ends, latents.to(base.dtype)
        )  # fmt: skip
        asked = [p for p in tests for _ in range(samples)]
        found = author.write(asked, heat, begun + plan["test"])
        many, speed = sum(map(len, found.values())), 1 / (time.monotonic() - begun)
        say(f"{name}: {len(found)} of {len(asked)} texts, {many} tokens, {many * speed:.0f} tokens/s")
        test_texts[name] = {"samples": samples, "heat": heat, "texts": {str(k): v for k, v in found.items()}}
        with gzip.open(out / "tests.json.gz", "wt") as stream:
            json.dump(test_texts, stream)

    trained = {k: v.clone() for k, v in modules.state_dict().items()}
    test("greedy-base", 0.0, 1, None)
    test("greedy-codes", 0.0, 1, modules)
    test("sampled-codes", 1.0, plan["test_samples"], modules)
    test("sampled-base", 0.7, plan["test_samples"], None)
    modules.float().load_state_dict(trained)
    note()

    del states
    if not plan["written"][0]:
        say("done")
        return
    rows = [Document(tuple(t), p, p) for t, p in zip(written, written_prompt, strict=True)]
    others = states_of(base, [documents[i] for i in range(0, len(documents), 50)][:120], plan["batch_tokens"] * 4)
    compared, _, results["written"] = train_both(
        base, rows, sizes, vocabulary, seconds=plan["written"], name="written", others=others, **room
    )
    test("greedy-codes-written", 0.0, 1, compared)
    note()
    say("done")
