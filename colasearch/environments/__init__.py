"""Environments: worlds that are acted on by short texts; ours, those of other packages, and users' own.

``base.py`` says what one is, ``registry.py`` finds it, ``checked.py`` looks at what it answers, ``catalogue.py`` says
which episodes there are. ``text_world/`` is ours; ``scienceworld.py`` adapts another, which ``servers/``
keeps in processes of their own. Nothing here knows a model.
"""

from colasearch.environments.base import Environment, EnvironmentFault, Kind, Outcome, Start, is_success
from colasearch.environments.catalogue import Catalogue, catalogue_of
from colasearch.environments.checked import Checked
from colasearch.environments.registry import find, settled

__all__ = [
    "Catalogue", "Checked", "Environment", "EnvironmentFault", "Kind", "Outcome", "Start", "catalogue_of", "find",
    "is_success", "settled",
]  # fmt: skip
