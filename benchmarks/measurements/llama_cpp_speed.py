"""Greedy decoding speed of llama.cpp on rows that share a prompt; an outside anchor for ``bench throughput``.

Needs `pip install llama-cpp-python` (builds C++) in an environment of its own, and a GGUF file; others than F16 are
converted first:

    python benchmarks/measurements/llama_cpp_speed.py smollm2.gguf --rows 64 --path 150 --threads 2
"""

from __future__ import annotations

import argparse
import ctypes
import time
from pathlib import Path

import numpy as np

FTYPE_F16 = 1


def to_f16(source: Path) -> Path:
    """Convert ``source`` to F16 next to it, once."""
    import llama_cpp

    target = source.with_suffix(".f16.gguf")
    if not target.exists():
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = FTYPE_F16
        parameters.allow_requantize = True
        code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
        if code:
            raise SystemExit(f"llama.cpp could not convert {source}: code {code}")
    return target


def measure(gguf: Path, rows: int, path: int, steps: int, threads: int) -> float:
    """Tokens a second of ``steps`` greedy tokens for each of ``rows`` rows after a shared prompt of ``path`` tokens."""
    import llama_cpp

    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), llama_cpp.llama_model_default_params())
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = rows * -(-(path + steps + 8) // 256) * 256
    parameters.n_batch = parameters.n_ubatch = max(rows, path)
    parameters.n_seq_max = rows
    parameters.kv_unified = False
    parameters.n_threads = parameters.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, parameters)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(max(rows, path), 0, 1)

    def fill(tokens: list[int], positions: list[int], sequences: list[int], wanted: list[bool]) -> None:
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, positions[i]
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequences[i]
            batch.logits[i] = wanted[i]
        if llama_cpp.llama_decode(context, batch):
            raise SystemExit("llama.cpp could not decode the batch")

    prompt = np.random.default_rng(0).integers(1, 256, path).tolist()
    fill(prompt, list(range(path)), [0] * path, [False] * (path - 1) + [True])
    memory = llama_cpp.llama_get_memory(context)
    for row in range(1, rows):
        llama_cpp.llama_memory_seq_cp(memory, 0, row, -1, -1)
    tokens = [1 + row for row in range(rows)]
    begun = 0.0
    for step in range(-2, steps):
        if step == 0:
            begun = time.perf_counter()
        fill(tokens, [path + 2 + step] * rows, list(range(rows)), [True] * rows)
        logits = [
            np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, row), (vocabulary,)) for row in range(rows)
        ]
        tokens = [int(row.argmax()) for row in logits]
    return rows * steps / (time.perf_counter() - begun)


def main() -> None:
    """Convert if need be, measure, print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--path", type=int, default=150)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    rate = measure(to_f16(given.gguf), given.rows, given.path, given.steps, given.threads)
    print(f"llama.cpp F16, {given.rows} rows after {given.path} tokens: {rate:.0f} tokens/s")


if __name__ == "__main__":
    main()
