"""The model card of a trained checkpoint, written from what its training recorded.

It begins with the metadata that the Hugging Face hub reads: library, base model, tags.
"""

from __future__ import annotations

import re
from typing import Any

from colasearch.model.config import BaseIdentity, LatentConfig
from colasearch.model.known import KNOWN

HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
"""``owner/model`` on the hub, and after ``@`` a branch, tag or commit."""
TAGS = ("colasearch", "latent-actions", "tree-search", "arxiv:2503.21383")


def hub_name_of(base: BaseIdentity) -> str | None:
    """The name of a base on the hub; None where it is not from there."""
    known = KNOWN.get(base.name)
    if known is not None:
        return known.hub
    found = HUB_NAME.fullmatch(base.name)
    return found["repo"] if found and base.revision else None  # a folder has no revision


def metadata(
    pipeline: str, base: BaseIdentity | None = None, *, library: str = "colasearch", tags: tuple[str, ...] = TAGS
) -> str:
    """The head of a card, as the hub's models have it.

    Args:
        pipeline: The task that the hub lists the model under, such as ``text-generation``.
        base: The base model; named only where it is on the hub.
        library: What loads the model.
        tags: Words to find it by.
    """
    from huggingface_hub import ModelCardData

    on_hub = None if base is None else hub_name_of(base)
    data = ModelCardData(base_model=on_hub, library_name=library, pipeline_tag=pipeline, tags=list(tags))
    return f"---\n{data.to_yaml().strip()}\n---\n"


def table(rows: dict[str, Any]) -> str:
    """Two columns of Markdown."""
    body = "\n".join(f"| {k} | {round(v, 4) if isinstance(v, float) else v} |" for k, v in rows.items())
    return f"| what | value |\n| --- | --- |\n{body}\n"


def _base_note(config: LatentConfig, bundled: bool) -> str:
    if bundled:
        changes = f"; what fine-tuning under the codes changed is in {config.tuned.file}" if config.tuned else ""
        return f"the base is with them, in the folder base{changes}"
    if config.tuned is None:
        return "the base is frozen, and no base weights are here"
    kind = "low-rank changes" if config.tuned.kind == "lora" else "changed tensors"
    when = "before these codes were learned" if config.tuned.codes_after else "under the codes"
    return f"the base was fine-tuned {when}: its {kind} are in {config.tuned.file}, merged in at load"


def _parts(config: LatentConfig) -> str:
    idm = ["inverse dynamics model"] if config.idm_layers else []
    codebook = f"codebook of {config.num_codes} latent actions"
    heads = [name for name, there in (("value head", config.value_hidden), ("Q head", config.q_head)) if there]
    parts = [*idm, codebook, "merge head", "policy", *heads]
    text = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return text[0].upper() + text[1:]


def model_card(config: LatentConfig, *, bundled: bool = False) -> str:
    """Markdown card: the hub's metadata, base, shape, settings and held-out measures of each stage.

    Args:
        config: Of the latent modules.
        bundled: The base's weights are part of the model folder.
    """
    base = config.base
    parts = [
        metadata("text-generation", base),
        f"# Latent actions for {base.name}\n",
        f"{_parts(config)} for a base model (CoLA, arXiv 2503.21383). Made by colasearch; "
        f"{_base_note(config, bundled)}.\n",
        table(
            {
                "base": base.name,
                "base revision": base.revision,
                "base weights' SHA-256": base.sha256,
                "codes": config.num_codes,
                "output form": config.output_form,
                "IDM blocks": config.idm_layers,
                "policy blocks": config.policy_layers,
            }
        ),
    ]
    for stage, notes in config.training.items():
        parts.append(f"## Stage: {stage}\n")
        told = notes if isinstance(notes, dict) else {"notes": notes}
        parts.append(table(told.get("config", told)))
        if "heldout" in told:
            parts.append("Held-out measures (cross-entropies in nats a token):\n")
            parts.append(table(told["heldout"]))
    return "\n".join(parts)
