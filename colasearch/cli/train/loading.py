"""What training starts from: the model, its texts, their hidden states and codes."""

from __future__ import annotations

from typing import Any

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.settings import Source, Where


def refuse_ranks() -> None:
    """Say so where a launcher has started several processes of a command that trains in one.

    Raises:
        UsageError: It has.
    """
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but only `train actions` and `train policy --data` train in "
            "several processes; start this command without a launcher"
        )


def load(model: str, where: Where, *, to_train: bool = True, parallel: bool = False) -> Any:
    """The model, with torch told how many threads to use; what trains, or is saved again, in float32.

    ``parallel``: the command can train in several processes; others refuse a launcher's.
    """
    import torch

    from colasearch.model.latent_lm import LatentLM
    from colasearch.training.running.ranks import Ranks

    if not parallel:
        refuse_ranks()
    if where.threads:
        torch.set_num_threads(where.threads)
    device = Ranks.current(where.device).device(where.device)
    return LatentLM.from_pretrained(
        model, device, where.dtype, lambda line: click.echo(line, err=True), whole_latents=to_train
    )


def corpus_of(model: Any, source: Source) -> Any:
    """The texts, tokenised as the model wants them, and cut off where its context ends."""
    from colasearch.training.data.corpus import first_texts, load_corpus

    end_id = model.base.end_id if source.end_id is None else source.end_id
    most = min(source.max_tokens, model.base.context_length)
    corpus = load_corpus(source.data, model.base.tokenizer, end_id, most)
    return corpus if source.most_tokens is None else first_texts(corpus, source.most_tokens)


def split(corpus: Any, heldout: float, *, measured: bool = True) -> tuple[list[int], list[int]]:
    """Indices of the texts to train on and of those held out; at least one of each.

    None is held out only where that is asked for (``heldout`` 0) and need not be ``measured``.
    """
    from colasearch.training.data.corpus import split_heldout

    train, held = split_heldout(corpus, heldout)
    if not train or (not held and (measured or heldout)):
        raise click.UsageError(
            f"{len(corpus.documents)} texts leave {len(train)} to train on and {len(held)} held out; "
            "both need at least one: give more text or another --heldout"
        )
    click.echo(f"{len(train)} texts to train on, {len(held)} held out, {corpus.tokens} tokens that count", err=True)
    return train, held


def states_of(model: Any, corpus: Any, keep: str = "cache", ranks: Any = None) -> Any:
    """Hidden states of the corpus.

    Args:
        model: Whose base computes them.
        corpus: The texts.
        keep: ``cache``: computed once and kept on disk; ``fresh``: computed for each batch; ``auto``: kept where they
            take at most half of the free disk and one process trains.
        ranks: The processes that train together: the first fills the cache.
    """
    from colasearch.training.data.hidden_cache import FreshStates, fits_on_disk, hidden_states

    alone = ranks is None or ranks.count == 1
    if keep == "fresh" or (keep == "auto" and not (alone and fits_on_disk(model.base, corpus))):
        return FreshStates(corpus.documents, model.base)
    if not alone and not ranks.first:
        ranks.wait()
    with Bar("hidden states") as bar:
        states = hidden_states(model.base, corpus, bar.update)
    if not alone and ranks.first:
        ranks.wait()
    return states


def frozen_codes(lm: Any, where: Where, corpus: Any) -> Any:
    """The IDM's codes of every text where the base was fine-tuned after it: it reads the base as it was; else None."""
    tuned = lm.require_latents().config.tuned
    if tuned is None or tuned.codes_after:
        return None
    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import LatentLM
    from colasearch.training.base.guidance import idm_codes

    modules = lm.require_latents()
    frozen = BaseModel.load(modules.config.base.name, where.device, where.dtype)
    return idm_codes(modules, states_of(LatentLM(lm.name, frozen, modules), corpus))
