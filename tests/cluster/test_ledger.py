"""The books of a pool, against a plain account of who has what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from colasearch.cluster.ledger import ALONE_AFTER, Ledger


@dataclass(frozen=True)
class Stream:
    whole_batches: ClassVar[bool] = False


@dataclass(frozen=True)
class Batches:
    whole_batches: ClassVar[bool] = True


RECIPES = {"a": Stream(), "b": Stream(), "c": Batches()}


@dataclass
class Known:
    """What this test knows of a unit: its worker (None while it waits), its losses, how often it came out."""

    key: str
    priority: tuple[int, ...]
    worker: int | None = None
    losses: int = 0
    doubted: bool = False
    out: int = 0


class Books(RuleBasedStateMachine):
    workers = Bundle("workers")

    @initialize(
        retries=st.integers(0, 4), slots=st.integers(1, 4), spare=st.integers(0, 2), crew=st.integers(1, 4),
        target=workers,
    )  # fmt: skip
    def begin(self, retries: int, slots: int, spare: int, crew: int):
        self.ledger = Ledger(retries)
        self.slots, self.spare, self.crew = slots, spare, crew
        self.units: dict[int, Known] = {}
        self.next_worker = crew
        self.gone: list[tuple[int, int]] = []
        return multiple(*range(crew))

    def has(self, worker: int) -> dict[int, Known]:
        return {number: unit for number, unit in self.units.items() if unit.worker == worker}

    def waiting(self, alone: bool) -> list[tuple[tuple[int, ...], int]]:
        """Those that wait, the next one first."""
        return sorted(
            (unit.priority, number)
            for number, unit in self.units.items()
            if unit.worker is None and not unit.out and (unit.losses >= ALONE_AFTER) is alone
        )

    @rule(key=st.sampled_from("abc"), urgency=st.integers(0, 2), count=st.integers(1, 6))
    def submit(self, key: str, urgency: int, count: int):
        for _ in range(count):
            number = len(self.units)
            self.ledger.submit(f"tag {number}", RECIPES[key], key, number, (urgency,))
            self.units[number] = Known(key, (urgency,))

    @rule(worker=workers)
    def take(self, worker: int):
        before = self.has(worker)
        alone, ready = self.waiting(True), self.waiting(False)
        in_hand = sum(unit.worker is not None for unit in self.units.values())
        share = max(1, -(-(len(alone) + len(ready) + in_hand) // self.crew))
        limit = min(self.slots + self.spare, share)
        taken = self.ledger.take(worker, self.slots, self.spare, self.crew)
        numbers = [unit.number for unit in taken]
        for unit in taken:
            known = self.units[unit.number]
            assert known.worker is None
            assert not known.out, "a unit that is done is worked on again"
            assert unit.alone == (known.losses >= ALONE_AFTER)
            assert unit.doubted == known.doubted
            known.worker = worker
        have = self.has(worker)
        if any(unit.losses >= ALONE_AFTER for unit in have.values()):
            assert len(have) == 1, "a unit that kills has company"
        assert len({unit.key for unit in have.values()}) <= 1, "units of two recipes"
        assert len(have) <= self.slots + self.spare
        if have and RECIPES[next(iter(have.values())).key].whole_batches:
            assert len(have) <= self.slots
            assert not (before and taken), "a batch is added to"
        if alone and not before:
            assert numbers == [alone[0][1]]
            return
        if any(unit.losses >= ALONE_AFTER for unit in before.values()):
            assert not taken
            return
        assert numbers == [number for _, number in ready[: len(numbers)]], "out of turn"
        if not before:
            assert taken or not ready, "an idle worker gets nothing"
        left = ready[len(numbers) :]
        if taken and not before:
            assert len(taken) <= max(1, limit)
        if left and self.units[left[0][1]].key == next(iter(have.values())).key:
            # Why the next one was not given, too.
            recipe = RECIPES[next(iter(have.values())).key]
            if recipe.whole_batches:
                assert before or len(have) >= min(self.slots, limit)
            else:
                assert len(have) >= limit

    @rule(worker=workers, data=st.data())
    def finish(self, worker: int, data: st.DataObject):
        have = sorted(self.has(worker))
        if not have:
            return
        number = data.draw(st.sampled_from(have))
        assert self.ledger.unit(worker, number) is not None
        unit = self.ledger.finish(worker, number)
        assert unit is not None
        assert (unit.number, unit.tag, unit.item) == (number, f"tag {number}", number)
        self.units[number].worker = None
        self.units[number].out += 1

    @rule(worker=workers, number=st.integers(0, 40))
    def report_what_is_not_ours(self, worker: int, number: int):
        if number not in self.has(worker):
            assert self.ledger.unit(worker, number) is None
            assert self.ledger.finish(worker, number) is None

    @rule()
    def late_reports_of_lost_workers(self):
        for worker, number in self.gone:
            assert self.ledger.unit(worker, number) is None
            assert self.ledger.finish(worker, number) is None

    def replaced(self, worker: int) -> int:
        self.gone += [(worker, number) for number in self.has(worker)]
        self.next_worker += 1
        return self.next_worker - 1

    @rule(worker=consumes(workers), target=workers)
    def lose(self, worker: int):
        new = self.replaced(worker)
        given_up = {unit.number for unit in self.ledger.lose(worker)}
        for number, known in self.has(worker).items():
            known.worker = None
            known.losses += 1
            assert (number in given_up) == (known.losses == self.ledger.retries + 1)
            known.out += number in given_up
            given_up.discard(number)
        assert not given_up, "given up, though it was not lost"
        assert self.ledger.lose(worker) == [], "lost twice"
        return new

    @rule(worker=consumes(workers), target=workers, times=st.integers(1, 3))
    def lose_with_what_it_takes(self, worker: int, times: int):
        """What random steps seldom come to: units lost time and again, then in hand beside others that wait."""
        for _ in range(times):
            self.take(worker)
            worker = self.lose(worker)
        self.take(worker)
        self.take(worker)
        return worker

    @rule(worker=consumes(workers), target=workers, data=st.data())
    def doubt(self, worker: int, data: st.DataObject):
        have = sorted(self.has(worker))
        numbers = data.draw(st.sets(st.sampled_from(have))) if have else set()
        new = self.replaced(worker)
        self.ledger.doubt(worker, numbers)
        for number, known in self.has(worker).items():
            known.worker = None
            known.doubted = known.doubted or number in numbers
        return new

    @invariant()
    def agree(self):
        if not hasattr(self, "units"):
            return
        pending = [unit for unit in self.units.values() if not unit.out]
        assert len(self.ledger) == len(pending)
        assert self.ledger.waiting == sum(unit.worker is None for unit in pending)
        for worker in range(self.next_worker):
            assert self.ledger.flying(worker) == len(self.has(worker))

    def teardown(self):
        """Whatever happened before: sound workers now bring everything to its end."""
        if not hasattr(self, "units"):
            return
        for worker in range(self.next_worker):
            for number in self.has(worker):
                assert self.ledger.finish(worker, number) is not None
                self.units[number].out += 1
        while len(self.ledger):
            taken = self.ledger.take(self.next_worker, self.slots, self.spare, 1)
            assert taken
            for unit in taken:
                assert self.ledger.finish(self.next_worker, unit.number) is unit
                self.units[unit.number].out += 1
        assert all(unit.out == 1 for unit in self.units.values())


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def full(retries: int = 3, count: int = 8) -> Ledger:
    ledger = Ledger(retries)
    for number in range(count):
        ledger.submit(number, RECIPES["a"], "a", number, ())
    return ledger


def test_a_unit_that_kills_every_worker_is_given_up_and_takes_no_other_with_it():
    ledger, out, given_up = full(), Counter(), []
    for worker in range(100):
        units = ledger.take(worker, 4, 1, 1)
        if not units:
            break
        if any(unit.item == 2 for unit in units):
            given_up += ledger.lose(worker)
        else:
            out.update(ledger.finish(worker, unit.number).tag for unit in units)
    assert [(unit.tag, unit.losses) for unit in given_up] == [(2, 4)]
    assert out == Counter([0, 1, 3, 4, 5, 6, 7])
    assert len(ledger) == 0


def test_a_unit_that_may_kill_has_no_company():
    ledger = full(count=1)
    for worker in range(2):
        assert len(ledger.take(worker, 4, 1, 1)) == 1
        assert ledger.lose(worker) == []
    for number in range(1, 6):
        ledger.submit(number, RECIPES["a"], "a", number, ())
    assert [unit.tag for unit in ledger.take(2, 4, 1, 1)] == [0]
    assert ledger.take(2, 4, 1, 1) == []
    assert [unit.tag for unit in ledger.take(3, 4, 1, 1)] == [1, 2, 3, 4, 5]


def test_work_is_shared_out_near_its_end():
    ledger = full(count=6)
    assert [len(ledger.take(worker, 16, 2, 3)) for worker in range(3)] == [2, 2, 2]


def test_a_cleared_ledger_knows_no_unit_and_gives_no_number_again():
    ledger = full(count=3)
    ledger.take(0, 2, 0, 1)
    ledger.clear()
    assert (len(ledger), ledger.waiting, ledger.flying(0)) == (0, 0, 0)
    ledger.submit("new", RECIPES["a"], "a", None, ())
    assert [unit.tag for unit in ledger.take(0, 2, 0, 1)] == ["new"]
    assert ledger.finish(0, 0) is None, "a report of what was forgotten"
    assert ledger.finish(0, 3).tag == "new"
