"""Environments in servers: what dies or hangs costs a replay, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colasearch.benchmarks.measurements.kill_servers import targets
from colasearch.environments import EnvironmentFault, Start, catalogue_of
from colasearch.environments.servers.served import served_kind
from colasearch.errors import PrerequisiteError

FAKE = Path(__file__).parent / "fake_server.py"


@pytest.fixture
def kind(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_NOTES", str(tmp_path))
    made = served_kind("fake", f"{FAKE}:Fake", servers=2, timeout=3.0)
    yield made
    made.close()


def pool_of(environment):
    return environment.inner.pool


def gone(pid: int) -> bool:
    """Whether a process is gone, or a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def programs_of(server) -> list[int]:
    """The programs that a server has started; its guardian, which it forked, is none."""
    return targets(server)[1:]


def wait_for(true) -> bool:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(true())


def test_a_server_that_dies_or_hangs_costs_one_replay(kind):
    catalogue = catalogue_of(kind)
    assert (catalogue.tasks, catalogue.max_steps, catalogue.has) == (("count",), 9, {"valid_actions"})
    assert len(catalogue.starts(None, "dev")) == 20
    environment = catalogue.make()
    environment.reset(Start("count", 3))
    seen = [environment.step(action).observation for action in ("more", "die", "more", "hang", "more")]
    assert seen == ["4", "5", "6", "7", "8"]
    assert environment.valid_actions() == ("more", "most")
    assert (environment.inner.replays, pool_of(environment).lost) == (2, 2)
    os.kill(programs_of(pool_of(environment).servers[0])[0], signal.SIGKILL)
    assert wait_for(lambda: gone(programs_of(pool_of(environment).servers[0])[0]))
    assert environment.step("more").observation == "9"
    assert environment.inner.replays == 3
    # Killed between two calls, and once more while it is idle.
    os.kill(pool_of(environment).servers[0].process.pid, signal.SIGKILL)
    assert environment.step("more").observation == "10"
    environment.close()
    os.kill(pool_of(environment).servers[0].process.pid, signal.SIGKILL)
    assert environment.reset(Start("count", 1)) == "1"
    assert environment.inner.replays == 4
    environment.close()


def test_an_idle_server_whose_program_is_gone_is_not_lent_again(kind):
    environment = catalogue_of(kind).make()
    environment.reset(Start("count", 1))
    server = pool_of(environment).servers[0]
    program = programs_of(server)[0]
    environment.close()
    os.kill(program, signal.SIGKILL)
    assert wait_for(lambda: gone(program))
    assert environment.reset(Start("count", 1)) == "1"
    assert environment.step("more").observation == "2"
    assert (environment.inner.replays, pool_of(environment).lost) == (0, 1)
    assert pool_of(environment).servers != [server]
    environment.close()


def test_what_an_environment_raises_is_its_own_fault_and_costs_no_server(kind):
    environment = catalogue_of(kind).make()
    environment.reset(Start("count", 0))
    with pytest.raises(EnvironmentFault, match="raised ValueError: cannot fail"):
        environment.step("fail")
    assert environment.step("more").observation == "1"
    assert pool_of(environment).lost == 0
    environment.close()


def test_what_never_works_is_given_up():
    hopeless = served_kind("hopeless", f"{FAKE}:Hopeless", servers=1, timeout=3.0)
    environment = catalogue_of(hopeless).make()
    environment.reset(Start("count", 0))
    with pytest.raises(EnvironmentFault, match="lost 5 servers"):
        environment.step("more")
    hopeless.close()
    with pytest.raises(PrerequisiteError, match=r"does not start: .*raised RuntimeError: no engine"):
        catalogue_of(served_kind("unstarted", f"{FAKE}:Unstarted", servers=1, timeout=3.0))


def test_no_more_than_the_servers_there_are(kind):
    catalogue = catalogue_of(kind)
    assert catalogue.kind.slots == 2
    environments = [catalogue.make() for _ in range(2)]
    with pytest.raises(EnvironmentFault, match="all 2 servers are in use"):
        catalogue.make()
    environments[0].close()
    catalogue.make().close()
    environments[1].close()


def test_nothing_is_left_behind(kind):
    environment = catalogue_of(kind).make()
    environment.reset(Start("count", 0))
    server = pool_of(environment).servers[0]
    pids = [server.process.pid, *programs_of(server)]
    assert len(pids) == 2
    kind.close()
    assert wait_for(lambda: all(map(gone, pids)))


def test_nothing_is_left_behind_where_the_main_process_is_killed():
    program = (
        "import sys, time\n"
        "from colasearch.benchmarks.measurements.kill_servers import targets\n"
        "from colasearch.environments.servers.served import Served, served_kind\n"
        f"made = served_kind('fake', {str(FAKE) + ':Fake'!r}, 1, 3.0).make()\n"
        "made.reset('count', 0)\n"
        "print(*targets(made.pool.servers[0]), flush=True)\n"
        "time.sleep(600)\n"
    )
    main = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    pids = [int(pid) for pid in main.stdout.readline().split()]
    assert len(pids) == 2
    assert not any(map(gone, pids))
    os.kill(pids[1], signal.SIGSTOP)  # so that nothing it could hear of would end it
    main.kill()
    main.wait()
    main.stdout.close()
    assert wait_for(lambda: all(map(gone, pids)))
