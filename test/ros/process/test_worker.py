"""The worker thread: the newest job wins, failures are told, the end is an end."""

from __future__ import annotations

import threading

from waiting import until

from vla_ros.ros.process.worker import Worker


def test_a_waiting_job_is_displaced_by_a_newer_one():
    gate, started, done = threading.Event(), threading.Event(), []

    def work(job: int) -> None:
        started.set()
        gate.wait(5)
        done.append(job)

    worker = Worker(work, lambda error: None, "test")
    worker.submit(1)
    assert started.wait(5)
    worker.submit(2)
    worker.submit(3)
    assert worker.busy
    gate.set()
    until(lambda: not worker.busy)
    assert worker.close()
    assert done == [1, 3]


def test_an_exception_is_told_and_the_thread_lives_on():
    errors, done = [], threading.Event()

    def work(job: str) -> None:
        if job == "bad":
            raise RuntimeError("out of memory")
        done.set()

    worker = Worker(work, errors.append, "test")
    worker.submit("bad")
    until(lambda: not worker.busy)
    worker.submit("good")
    assert done.wait(5)
    assert [str(error) for error in errors] == ["out of memory"]
    assert worker.close()


def test_closing_drops_what_waits():
    done: list[int] = []
    worker = Worker(done.append, lambda error: None, "test")
    assert worker.close()
    worker.submit(1)
    assert done == []
