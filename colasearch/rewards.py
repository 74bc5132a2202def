"""Rewards and values by a spec, of every kind: ``reward_of(["examples/reward.py:short*0.2", "rm:org/model"])``.

Here the kinds that know no model (``verifiers/rewards``) meet those that load one (``model/rewards``). To add a kind:
a class with ``name`` and ``score`` (``rewards.base.RewardSource``), its options in ``rewards.spec.OPTIONS``, a line in
``source_of``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colasearch.errors import InputError
from colasearch.storage.files import cache_dir
from colasearch.userfile import file_sha256, installed
from colasearch.verifiers.rewards import Mix, RewardSource, Spec, parse_spec
from colasearch.verifiers.rewards.spec import INSIDE

if TYPE_CHECKING:
    from colasearch.verifiers.rewards.pairwise import Chooser

GROUP = "colasearch.rewards"
"""Entry points of this group are reward functions, found by their names."""


def source_of(spec: Spec) -> RewardSource:
    """The reward that a spec names, ready to score.

    Raises:
        InputError: There is no such file, function, verifier or entry point.
        PrerequisiteError: Its model cannot be loaded.
    """
    match spec.kind:
        case "file":
            from colasearch.verifiers.rewards.functions import FunctionReward

            return FunctionReward.from_file(spec.text, spec.name, spec.part, spec.options.get("scale", "given"))
        case "http":
            from colasearch.verifiers.rewards.servers import ServerReward

            return ServerReward(spec)
        case "judge":
            from colasearch.verifiers.rewards.judge import JudgeReward

            return JudgeReward(spec, cache_dir() / "judges.sqlite")
        case "verifier":
            from colasearch.verifiers.rewards.checks import VerifierReward

            return VerifierReward(spec.text, spec.name)
        case "rm":
            from colasearch.model.rewards import OutcomeModel

            return OutcomeModel(spec)
        case "prm":
            from colasearch.model.rewards import ProcessModel

            return ProcessModel(spec)
        case "entry":
            return _entry(spec)
    raise InputError(f"{spec.text!r} is what a search has in itself; it is a value (--values), no reward")


def _entry(spec: Spec) -> RewardSource:
    from colasearch.verifiers.rewards.functions import FunctionReward

    function = installed(
        GROUP,
        spec.name,
        "reward",
        advice="A function in a file is PATH.py:FUNCTION, a reward model rm:NAME or prm:NAME, a server http://..., a "
        "verifier verifier:NAME.",
    )
    return FunctionReward(spec.text, function, spec.options.get("scale", "given"))


def reward_of(specs: Sequence[str], *, unit: bool = False) -> Mix:
    """The weighted mean of rewards.

    Args:
        specs: As on the command line, with weights.
        unit: Whether every number must lie in [0, 1].

    Raises:
        InputError: A spec cannot be read, or names nothing.
        PrerequisiteError: A model cannot be loaded.
    """
    parsed = [parse_spec(text) for text in specs]
    return Mix([(source_of(spec), spec.weight) for spec in parsed], unit=unit)


def chooser_of(text: str) -> Chooser:
    """What chooses the better of two texts, by the reward that ``text`` names; a judge is asked for both orders.

    Raises:
        InputError: The spec cannot be read, or names nothing.
        PrerequisiteError: Its model cannot be loaded.
    """
    from colasearch.verifiers.rewards.pairwise import ByScore, PairwiseJudge

    spec = parse_spec(text)
    if spec.kind == "judge":
        return PairwiseJudge(spec, cache_dir() / "judges.sqlite")
    return ByScore(source_of(spec))


def external(values: Sequence[str]) -> tuple[str, ...]:
    """The specs among ``--values`` that name a reward; empty for ``head``, ``rollouts`` and ``q``.

    Raises:
        InputError: A spec cannot be read, or one of a search's own values stands beside others.
    """
    specs = [parse_spec(text) for text in values]
    inside = [spec.text for spec in specs if spec.kind in INSIDE]
    if inside and len(specs) > 1:
        raise InputError(f"{inside[0]!r} cannot be mixed with other values; give it alone, or give rewards alone")
    return () if inside else tuple(values)


def settled(values: Sequence[str]) -> tuple[str, ...]:
    """Specs with absolute paths: what a process with another working folder can use."""
    return tuple(_settled(parse_spec(text), text) for text in values)


def _settled(spec: Spec, text: str) -> str:
    if spec.kind == "file":
        return text.replace(spec.name, str(Path(spec.name).expanduser().resolve()), 1)
    if spec.kind in ("rm", "prm") and Path(spec.name).expanduser().is_dir():
        kind, _, rest = text.partition(":")  # a folder may be called "prm", too
        return f"{kind}:{rest.replace(spec.name, str(Path(spec.name).expanduser().resolve()), 1)}"
    return text


def hashes_of(values: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files among specs, for a run's manifest."""
    specs = [parse_spec(text) for text in values]
    return {spec.text: file_sha256(spec.name) for spec in specs if spec.kind == "file"}
