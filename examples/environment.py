"""An environment of your own, named as examples/environment.py or examples/environment.py:Scales.

One of twelve coins is heavier than the others. Weigh them against each other, three times at most, then say which.
"""

import random
import re


class Scales:
    """Only reset and step are needed; all else may be left out."""

    instruction = "Find the heavier coin. Commands: weigh a b against c d, answer a. Give one command at a time."
    max_steps = 5
    coins = "abcdefghijkl"

    def variations(self, task, split):
        """The numbers of a split's variations."""
        return {"train": range(100), "dev": range(100, 120), "test": range(120, 140)}[split]

    def reset(self, task, variation):
        """Begin an episode; everything depends on task and variation alone."""
        self.heavy = random.Random(variation).choice(self.coins)
        self.left = 3
        return f"Twelve coins: {' '.join(self.coins)}. One is heavier. Three weighings are left."

    def step(self, text):
        """Act: what is seen, the reward, and whether the episode is over."""
        if found := re.fullmatch(r"answer ([a-l])", text):
            right = found[1] == self.heavy
            return ("Right." if right else f"No, it was {self.heavy}."), float(right), True
        found = re.fullmatch(r"weigh ([a-l ]+) against ([a-l ]+)", text)
        if not found or self.left == 0 or len(found[1].split()) != len(found[2].split()):
            return "That cannot be done.", 0.0, False
        self.left -= 1
        heavier = [side for side in found.groups() if self.heavy in side.split()]
        said = f"{heavier[0].strip()} goes down" if heavier else "It stays level"
        return f"{said}. Weighings left: {self.left}.", 0.0, False

    def gold(self):
        """Actions that solve the episode: a third of the coins is left after each weighing, as for a player."""
        coins, path = list(self.coins), []
        while len(coins) > 1:
            third = -(-len(coins) // 3)
            one, two, rest = coins[:third], coins[third : 2 * third], coins[2 * third :]
            path.append(f"weigh {' '.join(one)} against {' '.join(two)}" if len(one) == len(two) else "")
            if not path[-1]:
                path[-1] = f"weigh {one[0]} against {two[0]}"
                one, two, rest = one[:1], two[:1], [c for c in coins if c not in (one[0], two[0])]
            coins = next(part for part in (one, two, rest) if self.heavy in part)
        return [*path, f"answer {coins[0]}"]
