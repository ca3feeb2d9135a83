"""Turns: the follower waits while the leader works, never much longer, and the leader never waits at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.types import NS_PER_S
from vla_ros.ros.turns import INTERVAL, LONGEST_NS, NOBODY, PATIENCE_NS, Follower, Leader, turns_file

MS = 1_000_000


class Time:
    """A steady clock that only the test moves, and sleep."""

    def __init__(self) -> None:
        self.now_ns = 1000 * NS_PER_S

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return turns_file(7, "/robot", tmp_path)


def waits(follower: Follower, clock: Time) -> int:
    """How long it waits now [ns], after a slice of work of 2 ms."""
    clock.now_ns += 2 * MS
    before = follower.waited_ns
    follower.give_way()
    return follower.waited_ns - before


def test_it_waits_within_a_turn_and_not_after_it(path, clock):
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    with leader.turn():
        began_ns = clock.now_ns

        def until_the_end(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.now_ns - began_ns >= 16 * MS:
                leader._say(0, 0)

        follower._sleep = until_the_end
        assert waits(follower, clock) == 14 * MS
    assert waits(follower, clock) == 0
    assert (leader.problem, follower.state) == ("", "listens to the policy")


def test_it_waits_before_the_next_turn_as_long_as_that_may_be_late(path, clock):
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    for _ in range(2):
        started_ns = clock.now_ns
        with leader.turn(lead_ns=10 * MS):
            clock.now_ns += 16 * MS
        clock.now_ns = started_ns + 200 * MS
    clock.now_ns = started_ns + 180 * MS
    assert waits(follower, clock) == 0
    clock.now_ns = started_ns + 190 * MS
    assert waits(follower, clock) == 13 * MS, "10 ms before it, 5 after, 2 of them worked"
    assert waits(follower, clock) == 0, "no turn came"


def test_after_a_rest_no_next_turn_is_expected(path, clock):
    leader = Leader(path, clock)
    with leader.turn():
        pass
    clock.now_ns += 2 * LONGEST_NS
    with leader.turn():
        pass
    assert INTERVAL.unpack(path.read_bytes()) == (0, 0)


def test_an_exception_ends_the_turn_and_comes_through(path, clock):
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    with pytest.raises(ValueError, match="of the policy"), leader.turn():
        raise ValueError("of the policy")
    assert waits(follower, clock) == 0


@given(said=st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)), cut=st.integers(0, 16))
def test_whatever_the_file_holds_it_waits_no_longer_than_its_patience(tmp_path_factory, said, cut):
    """Of another boot, half written, cut short."""
    clock, path = Time(), tmp_path_factory.mktemp("turns") / "file"
    path.write_bytes(INTERVAL.pack(*said)[:cut])
    assert waits(Follower(path, clock_ns=clock, sleep=clock.sleep), clock) <= PATIENCE_NS + MS


def test_what_an_earlier_boot_said_is_not_heard(path, clock):
    path.write_bytes(INTERVAL.pack(clock.now_ns - MS, clock.now_ns + 3600 * NS_PER_S))
    assert waits(Follower(path, clock_ns=clock, sleep=clock.sleep), clock) == 0


@given(work_ms=st.integers(1, 50))
def test_beside_a_leader_that_is_always_at_work_about_half_of_the_time_is_left(tmp_path_factory, work_ms):
    clock, path = Time(), tmp_path_factory.mktemp("turns") / "file"
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    started_ns, worked_ns = clock.now_ns, 0
    while clock.now_ns - started_ns < 20 * NS_PER_S:
        leader._say(clock.now_ns, clock.now_ns + LONGEST_NS)
        follower.give_way()
        clock.now_ns += work_ms * MS
        worked_ns += work_ms * MS
    assert 0.4 < worked_ns / (clock.now_ns - started_ns) < 0.6


def test_one_that_is_not_polite_never_waits(path, clock):
    follower = Follower(path, polite=False, clock_ns=clock, sleep=clock.sleep)
    with Leader(path, clock).turn():
        assert waits(follower, clock) == 0
    assert follower.state == "not taken"


def test_two_threads_of_one_follower_wait_for_the_same_turn(path):
    Leader(path)._say(time.monotonic_ns(), time.monotonic_ns() + 300 * MS)
    follower = Follower(path)
    threads = [threading.Thread(target=follower.give_way) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(5)
    assert 0 < follower.waited_ns < 500 * MS


def test_without_a_leader_nobody_waits_and_one_that_comes_later_is_heard(path, clock):
    follower = Follower(path, clock_ns=clock, sleep=clock.sleep)
    assert waits(follower, clock) == 0 and follower.state == NOBODY
    with Leader(path, clock).turn():
        clock.now_ns += NS_PER_S - MS
        assert waits(follower, clock) == 0, "the turn is over by now, were it not ended"
        Leader(path, clock)._say(clock.now_ns, clock.now_ns + 20 * MS)
        assert waits(follower, clock) == 18 * MS


def test_a_file_that_was_tidied_away_is_found_again(path, clock):
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    leader._say(0, 0)
    waits(follower, clock)
    path.unlink()
    clock.now_ns += 2 * NS_PER_S
    leader._say(clock.now_ns, clock.now_ns + 20 * MS)
    assert waits(follower, clock) == 18 * MS


def test_a_leader_that_ends_leaves_nothing_and_nobody_waits(path, clock):
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    leader.close()  # before its first turn, too
    with leader.turn():
        pass
    assert path.is_file()
    leader.close()
    assert not path.exists() and not waits(follower, clock)
    with leader.turn():
        assert path.is_file()


@pytest.mark.parametrize("other", [(8, "/robot"), (7, "/robot2"), (7, "/robot/arm"), (7, "/")])
def test_other_domains_and_namespaces_do_not_hear_it(tmp_path, path, clock, other: tuple[int, str]):
    with Leader(path, clock).turn():
        assert waits(Follower(turns_file(*other, tmp_path), clock_ns=clock, sleep=clock.sleep), clock) == 0
        assert waits(Follower(turns_file(7, "robot/", tmp_path), clock_ns=clock, sleep=clock.sleep), clock) > 0


def hinder_folder(path: Path) -> None:
    path.parent.rmdir()


def hinder_kind(path: Path) -> None:
    os.mkfifo(path)


def hinder_link(path: Path) -> None:
    (path.parent / "precious").write_bytes(INTERVAL.pack(0, 2**62))
    path.symlink_to(path.parent / "precious")


@pytest.mark.parametrize("hinder", [hinder_folder, hinder_kind, hinder_link])
def test_where_the_file_cannot_be_had_both_go_on(tmp_path, clock, hinder):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = turns_file(7, "/", folder)
    hinder(path)
    leader, follower = Leader(path, clock), Follower(path, clock_ns=clock, sleep=clock.sleep)
    with leader.turn():
        assert waits(follower, clock) == 0
    assert "nobody gives way: " in leader.problem and NOBODY in follower.state
    assert hinder is hinder_folder or NOBODY in follower.problem
    if hinder is hinder_link:
        assert INTERVAL.unpack((folder / "precious").read_bytes()) == (0, 2**62), "wrote where a link points to"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_nothing_may_be_written_to(tmp_path, clock):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    leader = Leader(turns_file(7, "/", folder), clock)
    with leader.turn():
        pass
    assert "Permission denied" in leader.problem


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_another_users_file_is_not_trusted(path, clock):
    path.write_bytes(INTERVAL.pack(clock.now_ns, clock.now_ns + NS_PER_S))
    os.chown(path, 12345, 12345)
    follower, leader = Follower(path, clock_ns=clock, sleep=clock.sleep), Leader(path, clock)
    assert waits(follower, clock) == 0 and "another user's" in follower.state
    leader._say(1, 2)
    assert "another user's" in leader.problem


LEADER = """
import sys, time
from pathlib import Path
from vla_ros.ros.turns import Leader
with Leader(Path(sys.argv[1])).turn():
    print("at work", flush=True)
    time.sleep(float(sys.argv[2]))
print("done", flush=True)
time.sleep(60)
"""


def other_process(path: Path, seconds: float) -> subprocess.Popen[str]:
    found = subprocess.Popen([sys.executable, "-c", LEADER, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert found.stdout is not None and found.stdout.readline() == "at work\n"
    return found


def test_two_processes_take_turns(path):
    follower = Follower(path)
    with other_process(path, 0.4) as leader:
        follower.give_way()
        assert 0 < follower.waited_ns < PATIENCE_NS
        assert leader.stdout is not None and leader.stdout.readline() == "done\n"
        follower = Follower(path)
        follower.give_way()
        assert follower.waited_ns == 0
        leader.kill()


def test_a_leader_killed_within_its_turn_holds_nobody_up_for_long(path):
    with other_process(path, 60.0) as leader:
        leader.send_signal(signal.SIGKILL)
        leader.wait()
    follower, started_s = Follower(path), time.monotonic()
    follower.give_way()
    assert follower.waited_ns > 0
    assert time.monotonic() - started_s < LONGEST_NS / NS_PER_S + 0.2
    time.sleep(LONGEST_NS / NS_PER_S)
    waited_ns = follower.waited_ns
    follower.give_way()
    assert follower.waited_ns == waited_ns, "what the dead one said has ended"
