"""Speed of a search with a language model, next to three references measured in the same run.

(i) plain batched greedy decoding with the same engine at the same batch: the limit; (ii) transformers' ``generate``;
(iii) the published search loop as we re-created it: batch 1, the whole prefix encoded again for each child.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from colasearch.benchmarks.measurements.published_loop import PublishedLoop
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.forward.inference import inference_of
from colasearch.engine.memory.panels import RowBatch
from colasearch.engine.scheduler import Scheduler
from colasearch.engine.settings import Sampling, SearchSettings
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.searchers import run
from colasearch.training.generated.word_templates.problems import word_problems


def problems_for(count: int, seed: int = 0) -> list[Problem]:
    """Generated word problems, all different."""
    texts = dict.fromkeys(p["problem"] for p in word_problems(2 * count, seed))
    return [Problem.from_text(text) for text in list(texts)[:count]]


@dataclass(frozen=True, slots=True)
class SearchSpeed:
    """One measured search.

    Attributes:
        trees, sims: What was searched.
        seconds: Wall clock.
        tokens: Tokens generated.
        tokens_per_s, sims_per_s: Rates.
        model_calls: Forward passes of the base.
        rows_per_call: Mean rows of a pass.
        fraction_outside_model: Share of the time spent outside the model.
        peak_bytes: Most bytes of keys and values: tree nodes, and rows in decoding.
        tree_bytes: Most bytes of keys and values of tree nodes.
        unique_bytes: Bytes of keys and values of all prompt and node tokens, each once.
        prefill_ratio: Prompt tokens computed over prompt tokens of different prompts.
        padding: Share of the columns that attention went over that held no token.
    """

    trees: int
    sims: int
    seconds: float
    tokens: int
    tokens_per_s: float
    sims_per_s: float
    model_calls: int
    rows_per_call: float
    fraction_outside_model: float
    peak_bytes: int
    tree_bytes: int
    unique_bytes: int
    prefill_ratio: float
    padding: float

    def to_json(self) -> dict[str, Any]:
        """Fields by name."""
        return asdict(self)


def search_speed(lm: LatentLM, trees: int, settings: SearchSettings) -> SearchSpeed:
    """Search ``trees`` problems, all in slots at once."""
    problems = problems_for(trees)
    inference_of(lm, settings.world.engine)  # packing weights is no part of a search
    scheduler = Scheduler(lm, settings, slots=trees)
    world, actor = scheduler.world, scheduler.world.actor
    begun = time.perf_counter()
    done = list(scheduler.run(problems))
    seconds = time.perf_counter() - begun
    batch = world.decoder.batch
    sims = sum(d.result.sims for d in done if d.result is not None)
    shape = actor.shape
    per_token = 0 if shape is None else 2 * shape.layers * shape.heads * shape.head_dim * actor.lm.base.dtype.itemsize
    prompts = {d.trace.prompt_tokens for d in done if d.trace is not None}
    kept = sum(len(p) for p in prompts) + sum(
        len(n.tokens) for d in done if d.trace is not None for n in d.trace.nodes if n.end == ""
    )
    working = batch.memory.peak if isinstance(batch, RowBatch) else 0
    read = batch.columns_read if isinstance(batch, RowBatch) else 0
    used = batch.columns_used if isinstance(batch, RowBatch) else 0
    return SearchSpeed(
        trees=trees,
        sims=settings.sims,
        seconds=seconds,
        tokens=actor.generated_tokens,
        tokens_per_s=actor.generated_tokens / seconds,
        sims_per_s=sims / seconds,
        model_calls=actor.model_calls,
        rows_per_call=actor.generated_tokens / max(1, actor.model_calls),
        fraction_outside_model=1 - actor.model_seconds / seconds,
        peak_bytes=world.store.peak + working,
        tree_bytes=world.store.peak,
        unique_bytes=kept * per_token,
        prefill_ratio=actor.prompt_tokens / max(1, sum(len(p) for p in prompts)),
        padding=1 - used / max(1, read),
    )


@torch.inference_mode()
def batched_speed(
    lm: LatentLM, prompts: Sequence[Sequence[int]], tokens: int, new: int, copies: int = 1, engine: str = "auto"
) -> float:
    """Tokens a second of plain greedy decoding, ``copies`` rows of each prompt, ``new`` tokens each, until ``tokens``.

    Encoding the prompts is not timed, so this is what no search can pass at this batch.
    """
    actor = Actor(lm, Sampling(), latent=False, engine=engine)
    prompt_features, segments = actor.prefill(prompts)
    done, seconds = 0, 0.0
    while done < tokens:
        features, batch = prompt_features, actor.new_batch()
        begun = time.perf_counter()
        for segment in segments:
            for _ in range(copies):
                batch.enter(None, [segment])
        features = features.rows([i for i in range(len(segments)) for _ in range(copies)])
        for _ in range(new):
            batch.make_room()
            order = actor.greedy_tokens(features).tolist()
            features = actor.feed(order, batch)
            done += len(order)
        seconds += time.perf_counter() - begun
    return done / seconds


@torch.inference_mode()
def generate_speed(lm: LatentLM, prompts: Sequence[Sequence[int]], new: int) -> float:
    """Tokens a second of transformers' greedy ``generate`` on the same weights, prompts left-padded."""
    longest = max(len(p) for p in prompts)
    device = lm.base.device
    tokens = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    begun = time.perf_counter()
    out = lm.base.model.generate(
        tokens, attention_mask=mask, do_sample=False, max_new_tokens=new, min_new_tokens=new, pad_token_id=0
    )
    return float(len(prompts) * (out.shape[1] - longest)) / (time.perf_counter() - begun)


def naive_speed(lm: LatentLM, settings: SearchSettings, sims: int) -> float:
    """Tokens a second of the published loop, one tree, over ``sims`` simulations."""
    world = PublishedLoop(lm, settings.world.max_tokens, settings.world.max_step_tokens, settings.seed)
    begun = time.perf_counter()
    run(settings.searcher, world, problems_for(1), sims=sims, seed=settings.seed)
    return world.generated_tokens / (time.perf_counter() - begun)


def matmul_ceiling(lm: LatentLM, size: int = 1024) -> float:
    """Floating-point operations a second of a square product in the model's own precision."""
    dtype, device = lm.base.dtype, lm.base.device
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / least_seconds(lambda: a @ b, 20, device)


def flops_per_token(lm: LatentLM) -> int:
    """Operations of one decoded token in the base's linear layers and output head; attention is left out."""
    linears = [m for m in lm.base.model.modules() if isinstance(m, torch.nn.Linear)]
    return sum(2 * m.in_features * m.out_features for m in linears)


def least_seconds(job: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Least time of ``repeats`` runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


@torch.inference_mode()
def fan_out_ratio(lm: LatentLM, rows: int, shortlist: int, path: int = 128) -> float:
    """Time of one step that gives all codes' next tokens over that of one that gives one code's, for ``rows`` rows."""
    actor = Actor(lm, Sampling(shortlist=shortlist))
    segments = actor.prefill(random_prompts(lm, rows, path))[1]
    uniforms = torch.full((rows,), 0.5, dtype=torch.float64, device=lm.base.device)
    blank = np.zeros((rows, actor.num_actions))

    def step(after: Callable[[Features], object]) -> Callable[[], object]:
        batch = actor.new_batch()
        for segment in segments:
            batch.enter(None, [segment])

        def job() -> object:
            batch.make_room()
            return after(actor.feed([1] * rows, batch))

        return job

    one = least_seconds(step(lambda f: actor.next_tokens(f, uniforms)), 8, lm.base.device)
    every = least_seconds(step(lambda f: actor.fan_out(f, blank)), 8, lm.base.device)
    return every / one


@torch.inference_mode()
def shortlist_agreement(lm: LatentLM, shortlist: int, texts: Sequence[Sequence[int]]) -> tuple[float, float]:
    """How often the shortlist gives a code the token that the whole vocabulary gives.

    Returns:
        Share of the codes at the last positions of ``texts``, each code counting the same; and weighted by the policy.
    """
    short = Actor(lm, Sampling(shortlist=shortlist))
    whole = Actor(lm, Sampling(shortlist=0))
    features, _ = short.prefill(texts)
    blank = np.zeros((len(texts), short.num_actions))
    same = (short.fan_out(features, blank) == whole.fan_out(features, blank)).double()
    assert features.scores_BA is not None
    weights = features.scores_BA.double().softmax(-1)
    return float(same.mean()), float((same * weights).sum(-1).mean())


def random_prompts(lm: LatentLM, count: int, length: int, seed: int = 0) -> list[list[int]]:
    """``count`` random token sequences."""
    numbers = np.random.default_rng(seed).integers(1, min(lm.base.vocab_size, 256), (count, length))
    return [row.tolist() for row in numbers]
