"""What the start of a worker costs: its parts in a fresh interpreter, and a killed worker's replacement as a whole.

python -m colasearch.benchmarks.measurements.worker_start
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from colasearch.benchmarks.measurements.fault_runs import problems, settings, small_model, work
from colasearch.benchmarks.measurements.toy_units import ToyRecipe
from colasearch.cluster import Pool
from colasearch.cluster.recipes import Recipe, SearchRecipe

PARTS = {
    "ray": "import ray",
    "torch": "import torch",
    "transformers, tokenizer": "from transformers import PreTrainedTokenizerFast",
    "transformers, model classes": "from transformers import LlamaForCausalLM",
    "colasearch": "import colasearch.cluster.weights, colasearch.benchmarks.harness.drawing",
}
"""What a worker imports, in this order."""
_TIMED = """
import json, time
parts, seconds = json.loads({parts!r}), {{}}
for name, code in parts.items():
    begun = time.process_time()
    exec(code)
    seconds[name] = round(time.process_time() - begun, 2)
print(json.dumps(seconds))
"""


def imports() -> dict[str, float]:
    """CPU seconds of each of ``PARTS`` in a new interpreter."""
    command = [sys.executable, "-c", _TIMED.format(parts=json.dumps(PARTS))]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    seconds: dict[str, float] = json.loads(out)
    return seconds


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def replacement(lm: Any, recipe: Recipe, items: list[Any]) -> dict[str, float]:
    """From the kill of the only worker until the next one is ready."""
    with Pool(lm, workers=1, slots=1, threads=1) as pool:
        work(pool, recipe, items)
        # Ray makes a few processes beforehand; from the second replacement on each is a new one.
        for _ in range(2):
            (old,) = pool.crew.members()
            assert old.pid is not None
            os.kill(old.pid, signal.SIGKILL)
            begun = time.monotonic()
            pool.submit(recipe, items[0], None)
            while not any(member.pid != old.pid for member in pool.crew.members()):
                list(pool.advance())
            seconds = time.monotonic() - begun
            (new,) = pool.crew.members()
            assert new.pid is not None
            cpu = _cpu_seconds(new.pid)
            while pool.pending:
                list(pool.advance())
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}


@click.command(help=__doc__)
def command() -> None:
    """Print the measurements as JSON."""
    report: dict[str, Any] = {"import_cpu_seconds": imports()}
    report["replacement_without_model"] = replacement(None, ToyRecipe(8, 0.1), [1, 2])
    report["replacement_with_model"] = replacement(small_model(), SearchRecipe(settings(8, 8)), list(problems(2)))
    click.echo(json.dumps(report))


if __name__ == "__main__":
    command()
