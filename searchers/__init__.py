"""Tree-search algorithms over arrays: numpy only, batched over trees, one ask/tell interface.

    from colasearch.searchers import run
    out = run("gumbel", world, problems, sims=64, seed=0)

Searchers know no tokens, no models and no files; they see a ``World``.
"""

from colasearch.searchers.abmcts import AbMcts
from colasearch.searchers.beam import Beam, DiverseBeam, Dvts
from colasearch.searchers.cola_mended import ColaMended
from colasearch.searchers.cola_reference import ColaReference
from colasearch.searchers.driver import Progress, begin, conclude, drive, run, start
from colasearch.searchers.gumbel import Gumbel
from colasearch.searchers.outcome import Candidate, Choice, Outcome, TreeView
from colasearch.searchers.puct import Puct
from colasearch.searchers.rebase import Rebase
from colasearch.searchers.registry import ALGORITHMS, Algorithm, make
from colasearch.searchers.reuse import advance
from colasearch.searchers.sampling import BestOfN, Greedy, Majority, WeightedVote
from colasearch.searchers.search import Evaluations, Leaves, Search
from colasearch.searchers.tree import Tree
from colasearch.searchers.uct import Uct
from colasearch.searchers.widening import Widening
from colasearch.searchers.world import World, evaluations, merge_equal_actions

__all__ = [
    "ALGORITHMS", "AbMcts", "Algorithm", "Beam", "BestOfN", "Candidate", "Choice", "ColaMended", "ColaReference",
    "DiverseBeam", "Dvts", "Evaluations", "Greedy", "Gumbel", "Leaves", "Majority", "Outcome", "Progress", "Puct",
    "Rebase", "Search", "Tree", "TreeView", "Uct", "WeightedVote", "Widening", "World", "advance",
    "begin", "conclude", "drive", "evaluations", "make", "merge_equal_actions", "run", "start",
]  # fmt: skip
