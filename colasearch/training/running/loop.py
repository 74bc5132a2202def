"""The one training loop: AdamW, warm-up and cosine, clipping, gradient accumulation, exact resume, metrics.

It knows nothing of losses: a learner's ``accumulate`` adds one batch's gradients, in as many passes as memory wants.

All randomness of step s comes from (seed, s), so a resumed run walks the same curve as an undisturbed one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colasearch.disk import naming, raise_disk
from colasearch.errors import ColasearchError, CorruptFileError, InputError
from colasearch.storage.files import check_plain, clear_left_behind, folder_atomic, read_json, write_atomic, write_json
from colasearch.storage.runs import lock_folder
from colasearch.training.running.boards import Board, board_of
from colasearch.training.running.ranks import ALONE, Ranks

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Hyper-parameters of the loop.

    Attributes:
        lr, final_lr: Learning rate after warm-up and at the end of the cosine.
        warmup_steps: Steps of linear warm-up.
        weight_decay: AdamW's; never applied to parameters in ``no_decay``.
        clip: Largest gradient norm.
        save_every, log_every, evaluate_every: In steps; evaluation also happens at the end.
        seed: Fixes everything.
    """

    lr: float = 1e-3
    final_lr: float = 1e-4
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta2: float = 0.999
    clip: float = 1.0
    save_every: int = 200
    log_every: int = 20
    evaluate_every: int = 500
    seed: int = 0


def learning_rate(config: LoopConfig, step: int, steps: int) -> float:
    """Rate of step ``step`` (from 0): linear warm-up, then a cosine to ``final_lr``."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(math.pi * min(1.0, share))) / 2


class TrainRun:
    """A training run's folder: ``manifest.json``, ``metrics.jsonl`` and ``checkpoint/``, under a run folder's lock.

    The lock is held until ``close``, or the end of the process.

    Args:
        folder: Where it is.
        manifest: What ``manifest.json`` says.
        resume: Go on with the run that is there.
        boards: Names of boards that show the metrics, too.
        follow: Only read: another process of the same training (rank 0) owns the folder.

    Raises:
        InputError: The folder exists without ``resume``, or was started with another configuration.
        PrerequisiteError: Another process is training there, or the package of a board is missing.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        resume: bool,
        boards: Sequence[str] = (),
        *,
        follow: bool = False,
    ) -> None:
        self.folder, self.follow = folder, follow
        self.boards: list[Board] = []
        if follow:
            return
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give another --output")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(folder)
        try:
            clear_left_behind(folder)
            self._begin(manifest, resume)
            self.boards += [board_of(name, folder, manifest["config"]) for name in boards]
        except BaseException:
            self.close()
            raise

    def _begin(self, manifest: dict[str, Any], resume: bool) -> None:
        folder = self.folder
        if (folder / "manifest.json").exists():
            if not resume:
                raise InputError(f"{folder} already holds a run; give --resume to go on with it, or another --output")
            before = read_json(folder / "manifest.json")
            for key, value in manifest["config"].items():
                if before.get("config", {}).get(key) != json.loads(json.dumps(value)):
                    raise InputError(
                        f"{folder} was started with {key} = {before.get('config', {}).get(key)!r}, now it is "
                        f"{value!r}; a resumed run must keep its configuration"
                    )
        else:
            # A run that was killed at once leaves a lock, and at most a temporary file.
            if any(not path.name.startswith(".") for path in folder.iterdir()):
                raise InputError(f"{folder} exists and is no run folder; give another --output")
            write_json(folder / "manifest.json", manifest)

    def close(self) -> None:
        """Give the lock back."""
        while self.boards:
            self.boards.pop().close()
        if not self.follow:
            self._lock.close()

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        path = self.folder / "metrics.jsonl"
        with naming(path), path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        for board in self.boards:
            board.add(record)

    def save(self, modules: nn.Module, optimizer: torch.optim.AdamW, step: int) -> None:
        """Save everything that a resume needs, atomically: what is frozen stays as the run found it, so is left out."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        for name, parameter in _trained(modules):
            tensors[f"model.{name}"] = parameter.detach().cpu().contiguous()
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
        for name, value in modules.named_buffers():
            tensors[f"model.{name}"] = value.detach().cpu().contiguous()
        with folder_atomic(self.folder / "checkpoint", replace=True) as temporary:
            save_file(tensors, str(temporary / "state.safetensors"))
            write_json(temporary / "step.json", {"step": step})

    def load(self, modules: nn.Module, optimizer: torch.optim.AdamW) -> int:
        """Restore the last checkpoint; returns the number of steps done (0 when there is none)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.folder / "checkpoint" / "state.safetensors"
        if not path.exists():
            self._forget_after(0)
            return 0
        check_plain(path)
        try:
            tensors = load_file(str(path))
            step = int(read_json(path.parent / "step.json")["step"])
            targets = [*_trained(modules), *modules.named_buffers()]
            for name, value in targets:
                _check_saved(f"model.{name}", tensors[f"model.{name}"], value)
            for name, value in _trained(modules):
                for key in ("exp_avg", "exp_avg_sq"):
                    if (saved := tensors.get(f"{key}.{name}")) is not None:
                        _check_saved(f"{key}.{name}", saved, value)
            with torch.no_grad():
                for name, value in targets:
                    value.copy_(tensors[f"model.{name}"])
        except CorruptFileError:
            raise
        except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError, OSError) as error:
            raise_disk(error, path)
            raise CorruptFileError(f"{path} is damaged or of another model ({error}); start in a new folder") from None
        for name, parameter in _trained(modules):
            # All on the parameter's device: the fused optimiser counts its steps there, too.
            state = {
                key: tensors[f"{key}.{name}"].to(parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{key}.{name}" in tensors
            }
            if state:
                optimizer.state[parameter] = state
        self._forget_after(step)
        return step

    def _forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be done again, and a torn last line."""
        path = self.folder / "metrics.jsonl"
        if self.follow or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue
        write_atomic(path, "".join(f"{line}\n" for line in kept))


def _check_saved(name: str, saved: Tensor, wanted: Tensor) -> None:
    """Raise what a damaged checkpoint raises where a tensor's shape or kind is another, or it is not finite."""
    if saved.shape != wanted.shape or saved.dtype != wanted.dtype:
        raise ValueError(
            f"{name} is {saved.dtype} of shape {tuple(saved.shape)}, not {wanted.dtype} of {tuple(wanted.shape)}"
        )
    if saved.is_floating_point() and not bool(torch.isfinite(saved).all()):
        raise ValueError(f"{name} holds numbers that are not finite")


def _trained(modules: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in modules.named_parameters() if parameter.requires_grad]


def fit(
    run: TrainRun,
    modules: nn.Module,
    parameters: Iterable[nn.Parameter],
    config: LoopConfig,
    plan: Callable[[int], Sequence[Sequence[int]]],
    epochs: int,
    accumulate: Callable[[Sequence[int], int, int], Metrics],
    evaluate: Callable[[], Metrics],
    progress: Callable[[int, int, Metrics], None],
    no_decay: Sequence[nn.Parameter] = (),
    after_step: Callable[[int, torch.optim.AdamW], None] | None = None,
    rate_factors: Mapping[nn.Parameter, float] | None = None,
    ranks: Ranks = ALONE,
) -> Metrics:
    """Train ``parameters`` of ``modules`` and return the last evaluation.

    Args:
        run: The run's folder; its checkpoint is resumed when there is one.
        modules: What is saved.
        parameters: What is trained.
        config: Hyper-parameters.
        plan: Epoch number to that epoch's batches (each epoch may differ in count by the packing).
        epochs: Passes over the data.
        accumulate: ``(batch, step, steps)``: adds the batch's gradients (calling ``backward`` on as many parts as
            memory wants) and returns the batch's mean metrics.
        evaluate: Held-out metrics.
        progress: Called after each step.
        no_decay: Parameters without weight decay.
        after_step: Called with the step and the optimizer after each update.
        rate_factors: Parameters whose learning rate is this many times the others'.
        ranks: The processes that share each batch; the first alone evaluates and writes.
    """
    plans = [plan(epoch) for epoch in range(epochs)]
    steps = sum(len(p) for p in plans)
    schedule = [batch for p in plans for batch in p]
    trained = list(parameters)
    exempt = {id(p) for p in no_decay}
    factors = {id(p): factor for p, factor in (rate_factors or {}).items()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for p in trained:
        groups.setdefault((0.0 if id(p) in exempt else config.weight_decay, factors.get(id(p), 1.0)), []).append(p)
    optimizer = torch.optim.AdamW(
        [{"params": ps, "weight_decay": decay, "factor": factor} for (decay, factor), ps in groups.items()],
        lr=config.lr,
        betas=(0.9, config.beta2),
        fused=True,  # a third of the time on a CPU (docs/performance.md)
    )
    start = run.load(modules, optimizer)
    ranks.wait()  # nobody writes the next checkpoint while another still reads the last
    result: Metrics = {}
    begun = time.monotonic()
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, steps) * group["factor"]
        optimizer.zero_grad(set_to_none=True)
        metrics = accumulate(schedule[step], step, steps)
        ranks.sum_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, config.clip)
        if not torch.isfinite(norm):
            raise ColasearchError(
                f"step {step}: the gradient norm is {float(norm)}; lower --lr and resume from the last checkpoint"
            )
        optimizer.step()
        if after_step is not None:
            after_step(step, optimizer)
        done = step + 1
        if not ranks.first:
            continue
        progress(done, steps, metrics)
        if done % config.log_every == 0 or done == steps:
            rate = learning_rate(config, step, steps)
            run.log({"step": done, "seconds": round(time.monotonic() - begun, 2), "lr": rate, **metrics})
        if done % config.evaluate_every == 0 or done == steps:
            result = evaluate()
            if result:
                run.log({"step": done, **{f"heldout/{k}": v for k, v in result.items()}})
        if done % config.save_every == 0 or done == steps:
            run.save(modules, optimizer, done)
    return result or (evaluate() if ranks.first else {})


def manifest(kind: str, config: dict[str, Any], loop: LoopConfig, **more: Any) -> dict[str, Any]:
    """What ``manifest.json`` of a training run says."""
    import transformers

    from colasearch import __version__

    return {
        "schema": 1,
        "kind": kind,
        "config": {**config, **asdict(loop)},
        "versions": {
            "colasearch": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        **more,
    }
