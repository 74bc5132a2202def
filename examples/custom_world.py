"""A world of your own: any searcher works on it, no language model needed.

    python examples/custom_world.py

The puzzle: reach a number from 1 by "+1", "*2" and "*3" in as few steps as there are. A state is the number so far with
what was done; see ``colasearch.searchers.World`` for the contract.
"""

import numpy as np

from colasearch.searchers import run

MOVES = (("+1", lambda x: x + 1), ("*2", lambda x: 2 * x), ("*3", lambda x: 3 * x))


class Reach:
    """Numbers to reach, one tree each. States are numbers of rows in ``known``."""

    def __init__(self, steps):
        self.steps, self.known = steps, []

    def add(self, state):
        """A new state's number."""
        self.known.append(state)
        return len(self.known) - 1

    def root(self, problems):
        """States, prior logits (all moves alike) and values of the first states."""
        states = [self.add((target, 1, ())) for target in problems]
        return states, np.zeros((len(states), len(MOVES))), np.zeros(len(states))

    def expand(self, states, actions):
        """States, rewards, ends, prior logits and values after the actions."""
        new, rewards, ends = [], [], []
        for state, action in zip(states, actions, strict=True):
            target, number, done = self.known[int(state)]
            name, move = MOVES[int(action)]
            number, done = move(number), (*done, name)
            new.append(self.add((target, number, done)))
            rewards.append(float(number == target))
            ends.append(number >= target or len(done) == self.steps)
        # The value of an open state: how near it is. A rollout or a network would stand here.
        value = [0.0 if end else self.known[s][1] / self.known[s][0] for s, end in zip(new, ends, strict=True)]
        return new, rewards, ends, np.zeros((len(new), len(MOVES))), value

    def best(self, problems):
        """For each problem the shortest way that the search has come by; None where it has found none."""
        ways = {target: [done for t, number, done in self.known if t == target == number] for target in problems}
        return {target: min(found, key=len) if found else None for target, found in ways.items()}


def main(searcher="puct", sims=200, problems=(10, 24, 25)):
    """Search for all problems at once, and print the ways found."""
    world = Reach(steps=6)
    run(searcher, world, problems, sims=sims, seed=0)
    for target, way in world.best(problems).items():
        print(target, "=", "1 " + " ".join(way) if way else "not found")
    return world.best(problems)


if __name__ == "__main__":
    main()
