"""Tree search over latent actions in one file: what ``colasearch solve`` does, without batches, caches and options.

    python examples/minimal_search.py "Make 24 from 3, 5, 9." 32

A node is a text so far. Its actions are the model's latent codes: each leads to the token that the model finds most
probable under it, and codes of the same token are one edge. A step goes on greedily to the next open choice. PUCT picks
which leaf is looked at next; the problem's verifier says what finished texts are worth.
"""

import math
import sys
from dataclasses import dataclass, field

import torch

from colasearch import load
from colasearch.model.latent_lm import fan_out_states
from colasearch.tasks import answer_of, checkable_verifier, prompt_tokens
from colasearch.tasks.reading import parse_problem

MOST_TOKENS = 60
OPEN_BELOW = 0.9
"""A choice is open where the most probable token has less than this."""
EXPLORE = 1.5


@dataclass
class Node:
    """A text so far."""

    written: list[int]
    finished: bool = False
    priors: dict[int, float] = field(default_factory=dict)
    children: dict[int, "Node"] = field(default_factory=dict)
    visits: int = 0
    total: float = 0.0


class MinimalSearch:
    """One problem's search with one model."""

    def __init__(self, lm, problem):
        self.lm, self.problem = lm, problem
        self.prompt = prompt_tokens(lm.base.tokenizer, problem)
        self.verifier = checkable_verifier(problem.task)
        self.best_text, self.best_score = "", -1.0

    def text(self, written):
        """The text of tokens, without special ones."""
        return self.lm.base.tokenizer.decode(written, skip_special_tokens=True)

    @torch.inference_mode()
    def edges(self, written):
        """The next tokens that codes lead to, with the policy's probability of each."""
        hidden = self.lm.base.hidden(torch.tensor([self.prompt + written]))
        policy_K = torch.softmax(self.lm.latents.policy(hidden)[0, -1].float(), -1)
        states_KD = fan_out_states(self.lm.latents, self.lm.base, hidden[0, -1:])[0]
        tokens_K = self.lm.base.head(states_KD).argmax(-1)
        found = {}
        for token, probability in zip(tokens_K.tolist(), policy_K.tolist(), strict=True):
            found[token] = found.get(token, 0.0) + probability
        return found

    def is_finished(self, written):
        """An end token, or an answer in a closed box."""
        if written[-1] in self.lm.base.end_ids:
            return True
        text = self.text(written)
        return text.endswith("}") and answer_of(text, self.problem.task) is not None

    def step(self, written, token, to_the_end=False):
        """Write ``token``, then the most probable one while the model is sure (or to the end of the text)."""
        written = [*written, token]
        while True:
            if self.is_finished(written):
                return Node(written, finished=True)
            if len(written) >= MOST_TOKENS:
                return Node(written)
            edges = self.edges(written)
            best = max(edges, key=edges.get)
            if edges[best] < OPEN_BELOW and not to_the_end:
                return Node(written, priors=edges)
            written = [*written, best]

    def score(self, node):
        """What the verifier says of a finished text; an open one is finished greedily first."""
        if not node.finished and node.priors:
            node = self.step(node.written, max(node.priors, key=node.priors.get), to_the_end=True)
        text = self.text(node.written)
        answer = answer_of(text, self.problem.task)
        score = (self.verifier.score(self.problem, answer).reward or 0.0) if answer is not None else 0.0
        if answer is not None and score > self.best_score:
            self.best_text, self.best_score = text, score
        return score

    def choose(self, node):
        """The edge with the largest upper bound: its mean value, and more the less it was tried (PUCT)."""

        def bound(token):
            child = node.children.get(token)
            visits, mean = (child.visits, child.total / child.visits) if child else (0, 0.0)
            return mean + EXPLORE * node.priors[token] * math.sqrt(node.visits) / (1 + visits)

        return max(node.priors, key=bound)

    def run(self, sims):
        """So many simulations, or up to a text that the verifier accepts; the text found."""
        root = Node([], priors=self.edges([]))
        root.visits = 1
        for _ in range(sims):
            path = [root]
            while path[-1].priors and not path[-1].finished:  # select
                token = self.choose(path[-1])
                child = path[-1].children.get(token)
                if child is None:  # expand
                    child = path[-1].children[token] = self.step(path[-1].written, token)
                    path.append(child)
                    break
                path.append(child)
            value = self.score(path[-1])  # evaluate
            for node in path:  # back up
                node.visits += 1
                node.total += value
            if self.best_score >= 1:
                break
        return self.best_text


def main(text="Make 24 from 3, 5, 9.", sims=32, model="countdown-tiny"):
    """Search, and print what was found."""
    search = MinimalSearch(load(model, device="cpu"), parse_problem(text))
    print(search.run(int(sims)) or "no text with an answer")
    print("accepted by the verifier" if search.best_score >= 1 else "not accepted")
    return search


if __name__ == "__main__":
    main(*sys.argv[1:])
