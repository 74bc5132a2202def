"""Ways back to states of an environment: by copies of it, or by beginning again and doing the same once more.

What an action led to is kept by the actions that led there, so nothing is done twice for the same edge.
"""

from __future__ import annotations

from dataclasses import dataclass

from colasearch.agents.episode import STUCK
from colasearch.environments import Catalogue, Checked, EnvironmentFault, Outcome, Start
from colasearch.environments.checked import apart

History = tuple[str, ...]


@dataclass(slots=True)
class State:
    """A state that was reached.

    Attributes:
        history: The actions to it.
        outcome: What the last of them led to; of the beginning, the first observation.
        valid: What can be done there; None: anything may be tried.
        snapshot: The environment in this state, where it can be copied.
    """

    history: History
    outcome: Outcome
    valid: tuple[str, ...] | None = None
    snapshot: Checked | None = None

    @property
    def over(self) -> str:
        """Why nothing follows; empty where something does."""
        return "done" if self.outcome.done else STUCK if self.valid == () else ""


class Transitions:
    """The states of one episode that were reached so far.

    Attributes:
        steps: Actions that were new.
        replayed: Actions that were done again to come back to a state.
        resets: Times that the episode was begun.
    """

    def __init__(self, catalogue: Catalogue, start: Start, *, restrict: bool = True) -> None:
        self.start, self.restrict = start, restrict
        self.steps = self.replayed = self.resets = 0
        self._environment = catalogue.make()
        self._copies = self._environment.can_copy
        self._trusted = False
        self._at: History | None = None
        self._known: dict[History, State] = {}

    @property
    def environment(self) -> Checked:
        """In whatever state it was left."""
        return self._environment

    def root(self) -> State:
        """The beginning.

        Raises:
            EnvironmentFault: The environment is at fault.
        """
        if () not in self._known:
            first = self._begin()
            self._keep((), Outcome(first, 0.0, False))
        return self._known[()]

    def after(self, history: History, action: str) -> State:
        """The state that an action leads to from one that was reached before.

        Raises:
            EnvironmentFault: The environment is at fault, or does not do the same again.
        """
        whole = (*history, action)
        if whole not in self._known:
            environment = self._come_to(history)
            self._at = None  # if the step fails nobody knows where it is
            outcome = environment.step(action)
            self.steps += 1
            if self._copies and not self._trusted:
                self._try_copy(history, action, outcome)
            self._environment, self._at = environment, whole
            self._keep(whole, outcome)
        return self._known[whole]

    def known(self, history: History) -> State:
        """A state that was reached before."""
        return self._known[history]

    def close(self) -> None:
        """Let go of the environments."""
        self._environment.close()
        for state in self._known.values():
            if state.snapshot is not None and state.snapshot is not self._environment:
                state.snapshot.close()
            state.snapshot = None

    def _keep(self, history: History, outcome: Outcome) -> None:
        state = State(history, outcome)
        if not outcome.done:
            if self.restrict:
                state.valid = self._environment.valid_actions()
            if self._copies:
                state.snapshot = self._environment.copy()
        self._known[history] = state

    def _begin(self) -> str:
        self._at = None
        first = self._environment.reset(self.start)
        self.resets += 1
        self._at = ()
        return first

    def _come_to(self, history: History) -> Checked:
        """An environment in a state, which may be changed."""
        if self._at == history:
            return self._environment
        snapshot = self._known[history].snapshot
        if snapshot is not None:
            self._environment.close()
            return snapshot.copy()
        self._same((), Outcome(self._begin(), 0.0, False))
        for number, action in enumerate(history):
            self._at = None
            self._same(history[: number + 1], self._environment.step(action))
            self.replayed += 1
        self._at = history
        return self._environment

    def _try_copy(self, history: History, action: str, outcome: Outcome) -> None:
        """Act the same in another copy, once an episode: one that shares what changes comes to something else.

        Raises:
            EnvironmentFault: It does.
        """
        snapshot = self._known[history].snapshot
        assert snapshot is not None
        other = snapshot.copy()
        again = other.step(action)
        other.close()
        self.replayed += 1
        self._trusted = True
        if again != outcome:
            raise EnvironmentFault(
                f"environment {self._environment.where}: of two copies of one state, in the second {action!r} led to "
                f"{apart(again, outcome)} as in the first; let copy() share nothing that changes"
            )

    def _same(self, history: History, outcome: Outcome) -> None:
        """See to it that what was done again came to the same.

        Raises:
            EnvironmentFault: It did not.
        """
        before = self._known[history].outcome
        if outcome != before:
            what = f"after {len(history)} actions" if history else "at the beginning"
            raise EnvironmentFault(
                f"environment {self._environment.where}: done again, the same actions came to something else {what}: "
                f"{apart(outcome, before)}. A search comes back to states by reset and replay; "
                "let everything depend on task, variation and actions alone, or give copy()"
            )
