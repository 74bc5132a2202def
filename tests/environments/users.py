"""Environments as users write them, good and bad ones; named as tests/environments/users.py:Class."""

from __future__ import annotations

import random


class Guess:
    """Nothing but reset and step: a number from 0 to 9, six guesses."""

    def reset(self, task, variation):
        self.number = random.Random(variation).randrange(10)
        self.left = 6
        return "Guess a number from 0 to 9."

    def step(self, text):
        self.left -= 1
        digits = [int(letter) for letter in text if letter.isdecimal() and letter.isascii()]
        if digits and digits[0] == self.number:
            return "Right!", 1.0, True
        return "No.", 0.0, self.left == 0


class GuessValid(Guess):
    def valid_actions(self):
        return [str(number) for number in range(10)]


class GuessCopied(GuessValid):
    def copy(self):
        other = GuessCopied()
        other.number, other.left = self.number, self.left
        return other

    def gold(self):
        return [str(self.number)]


class Broken(Guess):
    """Each episode is broken in a way of its own, but for those from 5 on."""

    def reset(self, task, variation):
        self.variation = variation
        if variation == 0:
            raise KeyError("no such level")
        return super().reset(task, variation)

    def step(self, text):
        bad = {1: ("x", float("nan"), False), 2: ("x", 0.0), 3: (b"x", 0.0, False), 4: ("x", 0.0, None)}
        return bad.get(self.variation) or super().step(text)


class Fickle(GuessValid):
    """The same actions come to something else each time."""

    begun = 0

    def reset(self, task, variation):
        Fickle.begun += 1
        super().reset(task, variation)
        return f"Guess, for the {Fickle.begun}. time."


class SharedCopy(GuessCopied):
    """Its copies share what changes."""

    def __init__(self):
        self.house = {"left": 3}

    def reset(self, task, variation):
        self.house["left"] = 3
        self.number = 5
        return "Guess."

    def step(self, text):
        self.house["left"] -= 1
        return f"{self.house['left']} left.", 0.0, self.house["left"] <= 0

    def copy(self):
        other = SharedCopy()
        other.number, other.house = self.number, self.house
        return other


class Levels(Guess):
    """Says what there is to play, and who solved it."""

    tasks = ("easy", "hard")
    max_steps = 2
    instruction = "Guess well."

    def variations(self, task, split):
        return {"train": range(4), "dev": [7, 9], "test": range(20, 22)}[split]

    def step(self, text):
        return "Done.", -0.5, True

    def success(self):
        return True


ready_made = Guess()


class Letters:
    """Pays for small letters, three times; something that a policy of few codes can learn."""

    instruction = "Write."
    length = 3

    def variations(self, task, split):
        return {"train": range(4), "dev": range(4, 6), "test": range(6, 8)}[split]

    def reset(self, task, variation):
        self.left = self.length
        return f"Number {variation}: letters."

    def step(self, text):
        self.left -= 1
        small = sum("a" <= letter <= "z" for letter in text)
        return f"{small} letters.", small / max(1, len(text)) / self.length, self.left == 0


class Steady(Letters):
    """Pays the same whatever is done."""

    def step(self, text):
        observation, _, done = super().step(text)
        return observation, 1 / self.length, done


class Seven(GuessValid):
    """Says what there is to play; always solved by the same guess, of which there are two."""

    instruction = "Guess."
    number = 7

    def variations(self, task, split):
        return {"train": range(6), "dev": range(6, 10), "test": range(10, 12)}[split]

    def reset(self, task, variation):
        self.left = 2
        return f"Number {variation}?"


class Mixed(Seven):
    """Measures on what it trains on."""

    def variations(self, task, split):
        return {"train": range(4), "dev": range(2, 6), "test": range(2)}[split]


class Undeveloped(Seven):
    """Has nothing to measure on."""

    def variations(self, task, split):
        return range(4) if split == "train" else ()
