"""A policy that fails, is slow, hangs or dies, with the arm in motion under its plans."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Graph, hold_under, moves_under, running_graph
from lifecycle_msgs.msg import Transition
from policies import set_fault, write_script

from vla_ros.ros.clients import ServiceCaller

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Graph]:
    """The robot with a policy that fails on request, and a commander."""
    with running_graph(tmp_path_factory.mktemp("graph")) as found:
        start_policy(found, tiny_model)
        found.start("commander")
        yield found


@pytest.fixture(autouse=True)
def mended(graph: Graph, tiny_model: Path) -> None:
    """No row inherits the fault of the one before."""
    if graph.running["policy"].poll() is not None:
        start_policy(graph, tiny_model)
    mend(graph)


def start_policy(graph: Graph, model: Path) -> None:
    set_fault(graph.folder, "")
    graph.start("policy", model=model, script=write_script(graph.folder))


def mend(graph: Graph) -> None:
    """The cause is gone; a policy node that went inactive is activated by hand."""
    set_fault(graph.folder, "")
    caller = ServiceCaller(graph.world.node)
    if not caller.is_active("policy"):
        assert caller.change_state("policy", Transition.TRANSITION_ACTIVATE)


def test_one_exception(graph: Graph, row: Any) -> None:
    line = row("inference fails once", "costs one chunk; goes on")
    moves_under(graph, line, lambda: set_fault(graph.folder, "once"))
    assert "no chunk: the network is confused" in graph.processes.output("policy")


def test_inference_a_little_slow(graph: Graph, row: Any) -> None:
    line = row("inference 0.1 s slower", "planned for; goes on")
    moves_under(graph, line, lambda: set_fault(graph.folder, "slow 0.1"))
    set_fault(graph.folder, "")


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        ("inference fails every time", "raise", "inactive after 3 failures: the network is confused"),
        ("out of memory", "memory", "inactive after 3 failures: CUDA out of memory"),
        ("the network gives NaN", "nan", "inactive after 3 failures: the policy's chunk holds values that are not"),
        ("the network gives Inf", "inf", "inactive after 3 failures: the policy's chunk holds values that are not"),
    ],
)
def test_failing_inference(graph: Graph, row: Any, fault: str, kind: str, cause: str) -> None:
    line = row(fault, "policy inactive; hold")
    hold_under(graph, line, lambda: set_fault(graph.folder, kind), ("policy", cause), lambda: mend(graph))
    assert graph.running["policy"].poll() is None


def test_inference_slower_than_the_horizon(graph: Graph, row: Any) -> None:
    line = row("inference takes 2 s", "hold; late chunk refused")
    cause = ("commander", "the plan is stale")
    hold_under(graph, line, lambda: set_fault(graph.folder, "slow 2.0"), cause, lambda: mend(graph))


def test_a_policy_that_hangs(graph: Graph, row: Any) -> None:
    line, process = row("policy SIGSTOPped", "hold; nothing moves after SIGCONT"), graph.running["policy"]
    hold_under(
        graph,
        line,
        lambda: process.send_signal(signal.SIGSTOP),
        ("commander", "the plan is stale"),
        lambda: process.send_signal(signal.SIGCONT),
    )


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGKILL", -9)])
def test_a_policy_that_ends(graph: Graph, row: Any, tiny_model: Path, name: str, code: int) -> None:
    line, process = row(f"policy gets {name}", f"ends with {code} within 2 s; hold"), graph.running["policy"]

    def end() -> None:
        process.send_signal(signal.Signals[name])
        assert process.wait(2) == code

    cause = ("commander", "the plan is stale")
    hold_under(graph, line, end, cause, lambda: start_policy(graph, tiny_model))
