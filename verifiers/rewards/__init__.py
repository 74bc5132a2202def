"""Rewards: numbers for texts, from a user's function, a server, a judge or a verifier, all behind one interface.

``spec.py`` reads the strings that name rewards, ``base.py`` says what a reward is and how its numbers come into [0, 1],
the other files hold one kind each. Kinds that load a model stand in ``colasearch.model.rewards``, because nothing here
knows one; ``colasearch.rewards`` brings all kinds together.
"""

from colasearch.verifiers.rewards.base import Item, RewardSource, Score, rewards
from colasearch.verifiers.rewards.mix import Mix
from colasearch.verifiers.rewards.spec import Spec, parse_spec

__all__ = ["Item", "Mix", "RewardSource", "Score", "Spec", "parse_spec", "rewards"]
