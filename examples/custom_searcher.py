"""A searcher of your own, by name in ``solve`` beside those that there are.

    python examples/custom_searcher.py

It is UCT with another rule: with a small probability an action is taken at random, else the one with the best mean
(epsilon-greedy). Searchers see arrays of all trees; ``rules.edges_of`` has what is known of a node's edges.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from colasearch import solve
from colasearch.searchers import ALGORITHMS, Uct, rules


@dataclass(frozen=True, kw_only=True)
class EpsilonGreedy(Uct):
    """Takes the best mean so far; every so often any other action.

    Attributes:
        epsilon: How often.
    """

    name: ClassVar[str] = "epsilon_greedy"
    epsilon: float = 0.25

    def choose(self, search, row_R):
        """An action for each of the nodes ``row_R`` (rows of the flat arrays of the tree)."""
        tree = search.tree
        edges = rules.edges_of(tree, row_R, search.leaves_in_flight > 1, self.loss)
        mean_RA = np.where(edges.count_RA > 0, edges.q_RA, tree.prior_RA[row_R])  # of what was not tried: its prior
        # Random, and the same in each run: drawn from the node and how often it was visited.
        draws_RA = np.stack(
            [
                np.random.default_rng([search.seed, int(row), int(visits)]).random(1 + mean_RA.shape[1])
                for row, visits in zip(row_R, tree.visits_R[row_R], strict=True)
            ]
        )
        any_R1 = draws_RA[:, :1] < self.epsilon
        scores_RA = np.where(any_R1, draws_RA[:, 1:], mean_RA)
        scores_RA[tree.logits_RA[row_R] == -np.inf] = -np.inf  # such actions there are not
        return rules.where_open(tree, edges, scores_RA, self.revisit).argmax(axis=1)


ALGORITHMS[EpsilonGreedy.name] = EpsilonGreedy


def main(sims=16, text="Make 24 from 3, 5, 9."):
    """Solve a problem with it."""
    result = solve(text, searcher="epsilon_greedy", sims=sims, epsilon=0.5)
    print(result.searcher, "found", result.answer, "with", result.generated_tokens, "tokens; verdict:", result.verdict)
    return result


if __name__ == "__main__":
    main()
