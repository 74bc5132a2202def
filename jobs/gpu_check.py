"""Speed of the engine on a GPU; see docs/gpu-queue.md. ``jobs/gpu_check.sh`` runs it.

For each shape, with random weights made on the spot: plain decoding with each engine, a search of many trees,
transformers' ``generate`` with a static cache, and the kernels of one step. Next to them what no program can pass: the
bytes that a step must read over the memory's measured rate, and its operations over the measured rate of a product.
What is done is written at once; a part that fails says why, and the others go on.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from colasearch.benchmarks.measurements import model_speed as speed
from colasearch.benchmarks.measurements.random_model import random_model
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.looks import Wanted
from colasearch.engine.memory.interfaces import Scoring
from colasearch.engine.memory.pages import PagePool
from colasearch.engine.memory.shape import KVShape
from colasearch.engine.memory.tables import PlainTables, Text, VarlenTables, varlen_serves
from colasearch.engine.settings import Sampling, SearchSettings, WorldConfig
from colasearch.model.latent_lm import LatentLM

BEGUN = time.monotonic()
PAGES = (1, 16, 64, 128, 256)
"""Lengths of pages that the kernel over block tables is tried with."""
SYNCHRONISING = ("Synchronize", "aten::item", "aten::_local_scalar_dense", "Memcpy DtoH")
"""Parts of the names of events at which the host waits for the device."""


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        shapes: Names of ``random_model``.
        rows: Rows of plain decoding.
        prompt, new: Tokens of its prompts, and decoded in each row.
        trees, sims, text: Of the search; ``text`` is its longest text.
        square: Side of the matrices whose product is timed.
        copied: Bytes that are copied to time the memory.
    """

    shapes: tuple[str, ...] = ("random-135m", "random-1.5b")
    rows: tuple[int, ...] = (64, 256)
    prompt: int = 128
    new: int = 64
    trees: int = 64
    sims: int = 16
    text: int = 96
    square: int = 8192
    copied: int = 4 << 30


TINY = Sizes(("random-5m",), (3,), 9, 4, 2, 2, 6, 64, 1 << 20)


@dataclass
class Report:
    """What has been found, in a file that is whole at any time.

    Attributes:
        path: The file.
        until: Seconds after the start from which on no part begins.
        found: What is written.
    """

    path: Path
    until: float
    found: dict[str, Any] = field(default_factory=lambda: {"schema": 1, "parts": {}, "errors": {}, "left_out": []})

    def part(self, name: str, work: Callable[[], Any]) -> Any:
        """Do a part and note its result; None if it failed or there was no time."""
        if time.monotonic() - BEGUN > self.until:
            self.found["left_out"].append(name)
            self.write()
            return None
        begun = time.monotonic()
        result = None
        try:
            result = work()
            self.found["parts"][name] = result
            print(f"[{time.monotonic() - BEGUN:6.1f} s] {name}: {json.dumps(result)[:300]}", flush=True)
        except Exception as error:  # the other parts are worth as much as before
            self.found["errors"][name] = f"{type(error).__name__}: {error}"[:500]
            traceback.print_exc()
        self.found.setdefault("seconds", {})[name] = round(time.monotonic() - begun, 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.write()
        return result

    def write(self) -> None:
        """Put what there is into the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    import transformers

    said: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__, "device": str(device)}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        said |= {"card": card.name, "memory": card.total_memory, "capability": [card.major, card.minor]}
    return said


def ceilings(device: torch.device, dtype: torch.dtype, sizes: Sizes) -> dict[str, float]:
    """Bytes a second that the memory reads and writes, and operations a second of a large product."""
    source = torch.empty(sizes.copied // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = speed.least_seconds(lambda: target.copy_(source), 5, device)
    a, b = (torch.randn(sizes.square, sizes.square, device=device).to(dtype) for _ in range(2))
    return {
        "bytes_per_s": 2 * source.nbytes / seconds,
        "flops_per_s": 2 * sizes.square**3 / speed.least_seconds(lambda: a @ b, 5, device),
    }


def roofline(lm: LatentLM, rows: int, length: float, ceiling: dict[str, float]) -> dict[str, float]:
    """The most tokens a second of plain decoding: each step reads all weights once, and each row's keys and values.

    Args:
        lm: The model.
        rows: Rows.
        length: Tokens of a row, on the mean of a run.
        ceiling: As ``ceilings`` says.
    """
    base = lm.base
    shape = KVShape.of(lm)
    linears = [m.weight for m in base.model.modules() if isinstance(m, torch.nn.Linear)]
    weights = sum(w.numel() * w.element_size() for w in {w.data_ptr(): w for w in linears}.values())
    kept = 2 * shape.base_layers * shape.heads * shape.head_dim * base.dtype.itemsize
    step_bytes = weights + rows * length * kept
    by_bytes = rows / (step_bytes / ceiling["bytes_per_s"])
    by_flops = ceiling["flops_per_s"] / speed.flops_per_token(lm)
    return {"step_bytes": step_bytes, "tokens_per_s_by_bytes": by_bytes, "tokens_per_s_by_flops": by_flops}


def plain(lm: LatentLM, rows: int, engine: str, sizes: Sizes, most: dict[str, float] | None) -> dict[str, float]:
    """Plain greedy decoding of as many prompts as rows."""
    prompts = speed.random_prompts(lm, rows, sizes.prompt)
    speed.batched_speed(lm, prompts, tokens=1, new=2, engine=engine)  # to warm up
    rate = speed.batched_speed(lm, prompts, tokens=rows * sizes.new, new=sizes.new, engine=engine)
    least = min(most["tokens_per_s_by_bytes"], most["tokens_per_s_by_flops"]) if most else math.nan
    return {"tokens_per_s": rate, "of_roofline": rate / least}


def search(lm: LatentLM, engine: str, sizes: Sizes) -> dict[str, Any]:
    """A search of many trees under codes, lines as steps."""
    world = WorldConfig(max_tokens=sizes.text, branch_below=0.0, engine=engine)
    settings = SearchSettings(sims=sizes.sims, world=world)
    return speed.search_speed(lm, sizes.trees, settings).to_json()


@torch.inference_mode()
def generate(lm: LatentLM, rows: int, sizes: Sizes, compiled: bool) -> dict[str, float]:
    """Tokens a second of transformers' greedy ``generate`` with a static cache, its prompts' encoding included."""
    prompts = torch.tensor(speed.random_prompts(lm, rows, sizes.prompt), device=lm.base.device)

    def run(new: int) -> float:
        begun = time.perf_counter()
        lm.base.model.generate(
            prompts, attention_mask=torch.ones_like(prompts), do_sample=False, max_new_tokens=new, min_new_tokens=new,
            pad_token_id=0, cache_implementation="static", disable_compile=not compiled,
        )  # fmt: skip
        if prompts.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    run(sizes.new)  # to warm up, and to compile
    seconds = run(sizes.new)
    return {"tokens_per_s": rows * sizes.new / seconds, "seconds": seconds}


@torch.inference_mode()
def kernels(lm: LatentLM, rows: int, engine: str, sizes: Sizes, table: Path, lengths: Sequence[int]) -> dict[str, Any]:
    """Kernels, launches and waits of one decoding step with codes, of rows of several lengths."""
    from torch.profiler import ProfilerActivity, profile

    actor = Actor(lm, Sampling(), engine=engine)
    prompts = [speed.random_prompts(lm, 1, lengths[i % len(lengths)], seed=i)[0] for i in range(rows)]
    features, segments = actor.prefill(prompts)
    batch = actor.new_batch()
    for segment in segments:
        batch.enter(None, [segment])
    half = np.full(rows, 0.5)
    tokens = actor.next_tokens(features, torch.from_numpy(half).to(lm.base.device)).token_B.tolist()

    def step() -> None:
        nonlocal tokens
        batch.make_room()
        _, looks = actor.step(tokens, batch, Wanted(half, likely=False))
        tokens = looks.drawn(range(rows)).tokens

    steps = 3
    for _ in range(2):
        step()
    cuda = lm.base.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        for _ in range(steps):
            step()
    events = seen.events()
    assert events is not None
    names = Counter(event.name for event in events)
    on_device = [e for e in events if str(e.device_type).endswith("CUDA")]
    table.write_text(seen.key_averages().table(sort_by="self_cuda_time_total" if cuda else "self_cpu_time_total"))
    return {
        "kernels_per_step": len(on_device) / steps,
        "device_seconds_per_step": sum(e.self_device_time_total for e in on_device) / steps / 1e6,
        "launches_per_step": sum(n for name, n in names.items() if "LaunchKernel" in name) / steps,
        "operations_per_step": sum(n for name, n in names.items() if name.startswith("aten::")) / steps,
        "waits_per_step": {part: sum(n for name, n in names.items() if part in name) / steps for part in SYNCHRONISING},
    }


@torch.inference_mode()
def tables(device: torch.device) -> dict[str, Any]:
    """The kernel over block tables against plain products, for pages of several lengths, with grouped heads."""
    dtype = torch.bfloat16
    if not varlen_serves(device, dtype):
        return {"served": False}
    shape = KVShape(base_layers=1, policy_layers=0, heads=2, head_dim=128)
    found: dict[str, Any] = {"served": True}
    for page in PAGES:
        torch.manual_seed(0)
        lengths = [1, 7, 130, 257, 700, 1500]
        pool = PagePool(shape, dtype, device, page, sum(-(-n // page) for n in lengths))
        texts = []
        for length in lengths:
            table: list[int] = []
            for position in range(length):
                pool.room(table, position)
            texts.append(Text(table, length))
        pool.settle()
        pool.data.normal_()
        queries = torch.randn(len(lengths), 2, 6, 128, device=device, dtype=dtype)
        try:
            outs = []
            for attention in (PlainTables(), VarlenTables()):
                attention.plan(pool, texts)
                outs.append(attention(queries, *pool.data[0], Scoring(128**-0.5)).float())
            found[f"page {page}"] = {"greatest_difference": float((outs[0] - outs[1]).abs().max())}
        except RuntimeError as error:
            found[f"page {page}"] = {"refused": str(error).splitlines()[0][:200]}
    return found


def measure(report: Report, sizes: Sizes, device: str, dtype: str) -> None:
    """All parts, the most telling ones first."""
    for name in sizes.shapes:
        begun = time.monotonic()
        lm = random_model(name, device=device, dtype=dtype)
        where = lm.base.device
        report.found["machine"] = machine(where)
        report.found.setdefault("loaded", {})[name] = round(time.monotonic() - begun, 1)
        if "ceilings" not in report.found["parts"]:
            report.part("ceilings", lambda where=where, lm=lm: ceilings(where, lm.base.dtype, sizes))
            report.part("kernel over block tables", lambda where=where: tables(where))
        unknown = {"bytes_per_s": math.nan, "flops_per_s": math.nan}
        ceiling = report.found["parts"].get("ceilings", unknown)
        for rows in sizes.rows:
            mean = sizes.prompt + sizes.new / 2
            label = f"{name}, {rows} rows"
            most = report.part(f"{label}: roofline", lambda r=rows, m=mean, c=ceiling, lm=lm: roofline(lm, r, m, c))
            for engine in ("tree", "paged"):
                report.part(
                    f"{label}: plain, {engine}", lambda r=rows, e=engine, m=most, lm=lm: plain(lm, r, e, sizes, m)
                )
            report.part(f"{label}: generate, static cache", lambda r=rows, lm=lm: generate(lm, r, sizes, False))
        for engine in ("tree", "paged"):
            report.part(f"{name}: search, {engine}", lambda e=engine, lm=lm: search(lm, e, sizes))
            path = report.path.parent / f"profile-{name}-{engine}.txt"
            lengths = (sizes.prompt, 2, sizes.prompt // 2, 3 * sizes.prompt)
            report.part(
                f"{name}: kernels of a step, {engine}",
                lambda e=engine, p=path, n=lengths, lm=lm: kernels(lm, sizes.rows[0], e, sizes, p, n),
            )
        del lm
    if device != "cpu" and torch.cuda.is_available():  # last: compiling takes long
        lm = random_model(sizes.shapes[0], device=device, dtype=dtype)
        report.part(
            f"{sizes.shapes[0]}, {sizes.rows[0]} rows: generate, compiled",
            lambda: generate(lm, sizes.rows[0], sizes, True),
        )


def main() -> int:
    """Measure; 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for gpu_check.json and profiles")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--seconds", type=float, default=400, help="no part begins after so many")
    parser.add_argument("--tiny", action="store_true", help="a small model and few tokens, on a CPU")
    args = parser.parse_args()
    report = Report(args.output / "gpu_check.json", args.seconds)
    measure(report, TINY if args.tiny else Sizes(), "cpu" if args.tiny else args.device, args.dtype)
    report.found["all_seconds"] = round(time.monotonic() - BEGUN, 1)
    report.write()
    return 1 if report.found["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
