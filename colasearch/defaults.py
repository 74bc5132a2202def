"""What the model and the task settle where the user says nothing: how long texts get, and how tokens are drawn.

The command line, the Python functions and training ask here, so that the same model has the same limits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from colasearch.engine.settings import Sampling
from colasearch.model.base import BaseModel
from colasearch.model.ends import thinks
from colasearch.model.known import known_as
from colasearch.model.latent_lm import LatentLM
from colasearch.tasks import get_task

THINKING = 4
"""Times as many tokens as others that models get which reason before they answer (``model.ends.thinks``)."""
SEARCHER, SIMS = "gumbel", 64
IGNORED = ("repetition_penalty", "min_p", "typical_p", "no_repeat_ngram_size")
"""Settings of ``generation_config.json`` that change what is drawn, and that the engine does not have."""


def text_limit(base: BaseModel, tasks: Iterable[str]) -> int:
    """Longest text, in generated tokens, where the user gives no limit.

    What the solution of a task may take (``Task.text_tokens``: 1,024 for mathematics), four times that for a thinking
    model; at most half of the context, so that the prompt has room. A known model may say otherwise
    (``KnownBase.text_tokens``): one that is tuned to short solutions gains nothing by more.

    Args:
        base: The base model.
        tasks: Tasks of the problems; the longest counts.
    """
    known = known_as(base.identity.name)
    wanted = None if known is None else known.text_tokens
    if wanted is None:
        wanted = max(get_task(task).text_tokens for task in tasks)
        wanted *= THINKING if thinks(base.tokenizer) else 1
    return max(1, min(wanted, base.context_length // 2))


def searcher_for(model: str) -> str:
    """How ``solve`` searches where the user does not say: ``gumbel``, but for a known model that says otherwise.

    Args:
        model: Its name.
    """
    known = known_as(model)
    return (known and known.searcher) or SEARCHER


def sims_for(model: str) -> int:
    """Simulations where the user gives no number: 64, but for a known model that is slow on a CPU.

    Args:
        model: Its name.
    """
    known = known_as(model)
    return (known and known.sims) or SIMS


def actions_for(lm: LatentLM, wanted: str = "auto", say: Callable[[str], None] = lambda text: None) -> str:
    """What a search chooses among: ``latent`` (codes) or ``sampled`` (tokens drawn from the base).

    Args:
        lm: The model.
        wanted: ``latent``, ``sampled``, or ``auto``: codes where the model has them.
        say: Told when ``auto`` finds no codes.
    """
    if wanted != "auto":
        return wanted
    if lm.latents is not None:
        return "latent"
    say(f"{lm.name} has no latent actions (`colasearch adapt` gives it some): it draws tokens instead")
    return "sampled"


def sampling_for(base: BaseModel, temperature: float | None = None) -> Sampling:
    """How codes and tokens are drawn.

    Tokens (``--actions sampled``) as the model's ``generation_config.json`` says, as far as it does: temperature,
    ``top_k``, ``top_p``. Codes are not touched by it.

    Args:
        base: The base model.
        temperature: The user's, of codes and tokens; None: the model's, else that of ``Sampling``.
    """
    plain, own = Sampling(), _own(base)
    heat = temperature if temperature is not None else own.get("temperature", plain.token_temperature)
    return Sampling(
        temperature=plain.temperature if temperature is None else temperature,
        token_temperature=heat,
        token_top_k=own.get("top_k", plain.token_top_k),
        token_top_p=own.get("top_p", plain.token_top_p),
    )


def sampling_said(base: BaseModel, temperature: float | None = None) -> str | None:
    """One line on what ``sampling_for`` takes from the model, and what the engine cannot do; None: nothing of either.

    Args:
        base: The base model.
        temperature: The user's.
    """
    own = _own(base)
    if temperature is not None:
        own.pop("temperature", None)
    parts = []
    if own:
        used = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in own.items())
        parts.append(f"tokens are drawn as the model's generation_config.json says: {used}")
    config = getattr(base.model, "generation_config", None)
    plain: dict[str, Any] = {"repetition_penalty": 1.0, "typical_p": 1.0}
    given = {name: getattr(config, name, None) for name in IGNORED}
    ignored = [f"{name} {value:g}" for name, value in given.items() if value and value != plain.get(name)]
    if ignored:
        parts.append(
            f"its {', '.join(ignored)} is not used" if own else f"the model's {', '.join(ignored)} is not used"
        )
    return "; ".join(parts) or None


def _own(base: BaseModel) -> dict[str, Any]:
    """The sampling settings of the model's generation config that can be used."""
    config = getattr(base.model, "generation_config", None)
    temperature, top_p, top_k = (getattr(config, name, None) for name in ("temperature", "top_p", "top_k"))
    found: dict[str, Any] = {}
    if temperature is not None and temperature > 0:
        found["temperature"] = float(temperature)
    if top_p is not None and 0 < top_p <= 1:
        found["top_p"] = float(top_p)
    if top_k is not None:
        found["top_k"] = max(0, int(top_k))
    return found
