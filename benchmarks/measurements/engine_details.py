"""Measurements behind docs/performance.md that no command of colasearch prints.

python benchmarks/measurements/engine_details.py --model smollm2-135m [--only fan-out,path,...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from colasearch.benchmarks.measurements import model_speed as speed
from colasearch.benchmarks.measurements.random_model import SIZES, random_model
from colasearch.engine.decoding.decoder import Decoder
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.memory import panels as rows
from colasearch.engine.memory.interfaces import Scoring
from colasearch.engine.memory.products import attend
from colasearch.engine.settings import Sampling, SearchSettings, WorldConfig
from colasearch.model.latent_lm import LatentLM
from colasearch.training.generated.word_templates.problems import word_problems

NEVER = Rules(lambda token: False, lambda tokens: False, max_step_tokens=1 << 20, rollout=True)


def load(name: str, dtype: str = "auto") -> LatentLM:
    """A model by name, random ones included."""
    return random_model(name, dtype=dtype) if name in SIZES else LatentLM.from_pretrained(name, dtype=dtype)


def texts(lm: LatentLM, count: int, seed: int = 1) -> list[list[int]]:
    """Generated word problems with their solutions, cut at varying places."""
    out = []
    for i, row in enumerate(word_problems(count, seed)):
        tokens = lm.base.tokenizer(row["problem"] + "\n" + row["solution"])["input_ids"]
        out.append(tokens[: max(4, len(tokens) * (i % 10 + 1) // 10)])
    return out


def fan_out(name: str) -> None:
    """All codes' next tokens against one code's."""
    lm = load(name)
    for shortlist in (0, 4096, 2048, 1024, 512, 256):
        ratio = speed.fan_out_ratio(lm, 16, shortlist)
        print(f"fan-out at 16 rows, shortlist {shortlist or 'off'}: {ratio:.2f} x the time of one code's step")


def agreement(name: str) -> None:
    """Shortlist against the whole vocabulary."""
    lm = load(name)
    states = texts(lm, 200)
    for shortlist in (4096, 2048, 1024, 512, 256):
        plain, weighted = speed.shortlist_agreement(lm, shortlist, states)
        print(f"shortlist {shortlist}: {plain:.3%} of codes, {weighted:.3%} weighted by the policy, 200 states")


def path(name: str) -> None:
    """Plain decoding of 64 rows after short and long paths, in trees of several rows each."""
    lm = load(name)
    for trees in (64, 16, 8):
        rates = []
        for length in (150, 600):
            prompts = speed.random_prompts(lm, trees, length)
            rates.append(speed.batched_speed(lm, prompts, tokens=64 * 24, new=24, copies=64 // trees))
        loss = 1 - rates[1] / rates[0]
        print(f"64 rows of {trees} prompts: {rates[0]:.0f} tokens/s at 150, {rates[1]:.0f} at 600: loss {loss:.1%}")


@torch.inference_mode()
def packing(name: str) -> None:
    """Packed weights against float32 ones."""
    packed, plain = (Actor(load(name, dtype), Sampling()) for dtype in ("packed", "float32"))
    states = texts(packed.lm, 100)
    logits = [actor.lm.base.logits(actor.prefill(states)[0].hidden_BD).double() for actor in (packed, plain)]
    ours, theirs = (x.log_softmax(-1) for x in logits)
    divergence = float((theirs.exp() * (theirs - ours)).sum(-1).mean())
    same = float((ours.argmax(-1) == theirs.argmax(-1)).double().mean())
    print(f"packed against float32: KL {divergence:.2e} nats, argmax equal {same:.1%}, 100 states")


def mates(name: str) -> None:
    """Rows whose text changes with the batch they are in."""
    for dtype in ("packed", "float32", "bfloat16"):
        lm = load(name, dtype)
        actor = Actor(lm, Sampling())
        _, segments = actor.prefill(texts(lm, 64))

        def run(which: list[int], segments: list[torch.Tensor] = segments, actor: Actor = actor) -> list[list[int]]:
            rows = [Row([segments[i]], 100 + i, seeded_uniforms(31, i)) for i in which]
            decoder = Decoder(actor, 64)
            decoder.submit(rows, NEVER)
            while len(decoder):
                decoder.step()
            return [row.tokens for row in rows]

        together = run(list(range(64)))
        changed = sum(run([i])[0] != together[i] for i in range(0, 64, 4))
        print(f"{dtype}: {changed} of 16 texts of 32 tokens differ between alone and in a batch of 64")


@torch.inference_mode()
def profile(name: str) -> None:
    """Where the time of a decoding step goes: 64 rows under codes, about 130 tokens long."""
    actor = Actor(load(name), Sampling())
    batch = actor.new_batch()
    features, segments = actor.prefill(speed.random_prompts(actor.lm, 64, 120))
    for segment in segments:
        batch.enter(None, [segment])
    numbers = torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        for _ in range(8):
            batch.make_room()
            tokens = actor.next_tokens(features, numbers).token_B.tolist()
            features = actor.feed(tokens, batch)
    total = sum(e.self_cpu_time_total for e in recorded.key_averages())
    for event in sorted(recorded.key_averages(), key=lambda e: -e.self_cpu_time_total)[:12]:
        print(f"{event.self_cpu_time_total / total:6.1%}  {event.key}, {event.count / 8:.0f} a step")


def attention(name: str) -> None:
    """Plain products against torch's fused attention: one query a row, 64 rows, 9 query and 3 key heads of 64."""
    rows, heads, group, size, layers = 64, 3, 3, 64, 8
    queries, mask = torch.randn(rows, heads, group, size), torch.zeros(rows, 1, 1, 1)
    for columns in (128, 256, 384):
        keys, values = torch.randn(2, layers, rows, heads, columns, size)
        seen = mask.expand(-1, 1, group, columns)

        def plain(keys: torch.Tensor = keys, values: torch.Tensor = values, seen: torch.Tensor = seen) -> None:
            for k, v in zip(keys, values, strict=True):
                attend(queries, k, v, seen, Scoring(size**-0.5))

        def fused(keys: torch.Tensor = keys, values: torch.Tensor = values, seen: torch.Tensor = seen) -> None:
            for k, v in zip(keys, values, strict=True):
                torch.nn.functional.scaled_dot_product_attention(queries, k, v, seen)

        ours, theirs = (speed.least_seconds(job, 20, queries.device) / layers for job in (plain, fused))
        print(f"{columns} columns: plain {1e3 * ours:.2f} ms a layer, fused {1e3 * theirs:.2f}: {ours / theirs:.2f}")


def columns(name: str) -> None:
    """Width of the classes of lengths: speed and padding of a search of 16 trees with 16 simulations."""
    lm = load(name)
    settings = SearchSettings(sims=16, world=WorldConfig(max_tokens=128, branch_below=0.0))
    for width in (64, 32, 64, 32):
        rows.COLUMNS = width
        found = speed.search_speed(lm, 16, settings)
        print(f"classes of {width} columns: {found.tokens_per_s:.0f} tokens/s, padding {found.padding:.0%}")


def compiled(name: str) -> None:
    """Plain decoding of 16 rows with and without torch.compile."""
    lm = load(name)
    prompts = speed.random_prompts(lm, 16, 100)
    for on in (False, True):
        lm.base.compiled = on
        begun = time.perf_counter()
        speed.batched_speed(lm, prompts, tokens=16 * 8, new=8)
        first = time.perf_counter() - begun
        rate = speed.batched_speed(lm, prompts, tokens=16 * 48, new=48)
        print(f"compile {on}: {rate:.0f} tokens/s, the first 8 tokens took {first:.1f} s")


CHECKS: dict[str, Callable[[str], None]] = {
    "fan-out": fan_out, "agreement": agreement, "path": path, "packing": packing, "mates": mates, "profile": profile,
    "attention": attention, "columns": columns, "compile": compiled,
}  # fmt: skip


def main() -> None:
    """Run the checks asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(CHECKS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for check in options.only.split(","):
        CHECKS[check](options.model)


if __name__ == "__main__":
    main()
