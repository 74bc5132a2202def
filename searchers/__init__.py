"""Tree-search algorithms over arrays: numpy only, batched over trees, one ask/tell interface.

    from colasearch.searchers import run
    out = run("gumbel", world, problems, sims=64, seed=0)

Searchers know no tokens, no models and no files; they see a ``World``.
"""

from colasearch.searchers.driver import Progress, begin, conclude, run
from colasearch.searchers.gumbel import Gumbel
from colasearch.searchers.outcome import Choice, Outcome, TreeView
from colasearch.searchers.puct import Puct
from colasearch.searchers.registry import ALGORITHMS, Algorithm
from colasearch.searchers.search import Evaluations, Leaves, Search
from colasearch.searchers.tree import Tree
from colasearch.searchers.world import World

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Choice",
    "Evaluations",
    "Gumbel",
    "Leaves",
    "Outcome",
    "Progress",
    "Puct",
    "Search",
    "Tree",
    "TreeView",
    "World",
    "begin",
    "conclude",
    "run",
]
