"""The recorder as a process: it records what is published, and what a SIGKILL leaves can be repaired."""

from __future__ import annotations

import json
import random
import signal
import struct
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from live_nodes import Processes, World
from waiting import until

from vla_ros.bags.reading.definitions import definition_of
from vla_ros.bags.reading.reader import decode, open_bag
from vla_ros.bags.salvage.repair import repair

pytestmark = pytest.mark.live

RATE_S, LOST_S = 0.01, 1.0


class Source:
    """Numbered joint states at 100 Hz and an instruction."""

    def __init__(self, node: Any) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        from vla_ros.ros.qos import LATCHED, SENSOR

        self._states = node.create_publisher(JointState, "/joint_states", SENSOR)
        self._said = node.create_publisher(String, "/instruction", LATCHED)
        self._said.publish(String(data="open the drawer"))
        self.sent = 0
        self._timer = node.create_timer(RATE_S, self._tell)

    def _tell(self) -> None:
        from vla_ros.ros.convert import array_to_joint_state

        self._states.publish(array_to_joint_state(["count"], [float(self.sent)], time.time_ns()))
        self.sent += 1


def recorded(bag_path: Path) -> list[int]:
    with open_bag(bag_path) as bag:
        return [round(decode(one).position[0]) for one in bag.messages(["/joint_states"])]


def test_what_is_published_is_recorded_with_its_quality_of_service(
    processes: Processes, world: World, tmp_path: Path
) -> None:
    source, path = Source(world.node), tmp_path / "bag"
    recorder = processes.start("recorder", bag=path, split_s=0.5, compress=True)
    until(lambda: world.says("recorder", f"recording {path}"), what="the recorder")
    before = source.sent
    until(lambda: source.sent > before + 150, 20, "messages")
    assert world.trigger("recorder/begin_episode")[0] and world.trigger("recorder/end_success")[0]
    time.sleep(0.3)
    success, said = world.trigger("recorder/stop")
    assert success and str(path) in said
    numbers = recorded(path)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 50
    assert len(list(path.glob("*.mcap"))) > 1, "it was not split"
    with open_bag(path) as bag:
        topics = {topic.name: topic for topic in bag.topics}
        assert topics["/instruction"].latched and topics["/instruction"].reliable
        assert not topics["/joint_states"].reliable
        (mark, end) = [decode(one).data for one in bag.messages(["/episode"])]
        assert '"start"' in mark and '"success": true' in end
    from rosbags.rosbag2 import Reader

    with Reader(path) as reader:  # as the metadata tells it, not file by file
        assert reader.message_count == sum(1 for _ in reader.messages())
        states = next(one for one in reader.connections if one.topic == "/joint_states")
        assert states.digest == definition_of("sensor_msgs/msg/JointState")[1]  # the live graph's hash is rosbags' own
    recorder.terminate()
    assert recorder.wait(30) == 0


def test_every_name_and_every_quality_is_recorded_and_what_is_missing_is_told(
    processes: Processes, world: World, tmp_path: Path
) -> None:
    """In a namespace and remapped, with cameras that are absent, and publishers of one topic that differ."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import JointState
    from std_msgs.msg import String

    from vla_ros.bags.contract_topics import by_contract
    from vla_ros.core.robot import load_robot
    from vla_ros.ros.convert import array_to_joint_state
    from vla_ros.ros.qos import LATCHED, SENSOR

    node, path = world.node, tmp_path / "bag"
    early = node.create_publisher(String, "/instruction", LATCHED)
    early.publish(String(data="latched"))
    sensor = node.create_publisher(JointState, "/robot/joint_states", SENSOR)
    remaps = ("__ns:=/left", "/joint_states:=/robot/joint_states")
    processes.start("recorder", remaps=remaps, bag=path)
    told: dict[str, float] = {}

    def status() -> Any:
        for name in ("recorder", "left/recorder"):
            if name in world.diagnostics:
                told.setdefault("first", time.monotonic())
                return world.diagnostics[name]
        return None

    until(lambda: sensor.get_subscription_count() and status(), what="the recorder")
    reliable = node.create_publisher(JointState, "/robot/joint_states", QoSProfile(depth=50))
    plain = node.create_publisher(String, "/instruction", QoSProfile(depth=5))
    effort = node.create_publisher(
        String, "/instruction", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    until(lambda: plain.get_subscription_count() and effort.get_subscription_count(), what="matches")
    plain.publish(String(data="volatile"))
    for _ in range(4):  # the recorder may know of this publisher a moment later than it of the recorder
        effort.publish(String(data="best effort"))
        time.sleep(0.1)
    until(lambda: reliable.get_subscription_count() >= 2, what="a reliable subscription")
    for k in range(100):
        for number, publisher in ((k, sensor), (1000 + k, reliable)):
            publisher.publish(array_to_joint_state(["count"], [float(number)], time.time_ns()))
        time.sleep(0.01)
    until(lambda: status().level == b"\x01", 3.0, "the warning")
    assert time.monotonic() - told["first"] < 4.0
    missing = "no message on /front/image_raw, /joint_commands, /wrist/image_raw"
    assert f"recording {path}; {missing}" in status().message
    assert world.trigger("left/recorder/begin_episode")[0]
    time.sleep(0.3)
    _, said = world.trigger("left/recorder/stop")
    assert said.endswith(f"messages; {missing}")
    until(lambda: f"recorded {path}: " in processes.output("recorder"), 5, "the summary")
    assert missing in processes.output("recorder").splitlines()[-1]
    with open_bag(path) as bag:
        numbers = [round(decode(one).position[0]) for one in bag.messages(["/robot/joint_states"])]
        assert len(numbers) == len(set(numbers)) and set(range(1000, 1100)) <= set(numbers)
        assert len([number for number in numbers if number < 1000]) > 80
        assert {decode(one).data for one in bag.messages(["/instruction"])} == {"best effort", "latched", "volatile"}
        view = by_contract(bag, load_robot("ur5e_tabletop"))
        counts = {topic.name: topic.count for topic in view.topics}
        assert counts["/joint_states"] == len(numbers) and counts["/episode"] == 1
        assert '"start"' in next(decode(one).data for one in view.messages(["/episode"]))


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_completes_the_bag(processes: Processes, world: World, tmp_path: Path, number: str) -> None:
    source, path = Source(world.node), tmp_path / "bag"
    recorder = processes.start("recorder", bag=path)
    until(lambda: world.says("recorder", f"recording {path}"), what="the recorder")
    before = source.sent
    until(lambda: source.sent > before + 50, 20, "messages")
    recorder.send_signal(getattr(signal, number))
    assert recorder.wait(20) == 0
    assert (path / "metadata.yaml").exists() and len(recorded(path)) > 30


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_terminal_that_closes_on_vla_ros_record_leaves_a_complete_bag(
    processes: Processes, world: World, tmp_path: Path, number: int
) -> None:
    source, path = Source(world.node), tmp_path / "bag"
    command = [sys.executable, "-m", "vla_ros.cli.main", "record", "--bag", str(path)]
    recorder = processes.run("recorder", command)
    until(lambda: world.says("recorder", f"recording {path}"), what="the recorder")
    before = source.sent
    until(lambda: source.sent > before + 30, 20, "messages")
    recorder.send_signal(number)
    assert recorder.wait(10) == 0
    assert (path / "metadata.yaml").is_file() and len(recorded(path)) > 10


def test_a_full_disk_ends_the_recording_and_nothing_else(processes: Processes, world: World, tmp_path: Path) -> None:
    source = Source(world.node)
    recorder = processes.start("recorder", bag=tmp_path / "bag", min_free_mb=1e9)
    until(lambda: world.says("recorder", "MB left on the disk; recording ends"), what="the end of the recording")
    assert recorder.poll() is None and source.sent > 0
    with open_bag(tmp_path / "bag") as bag:
        assert bag.count >= 0  # complete, whatever is in it


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_sigkill_costs_a_second_at_the_most(
    processes: Processes, world: World, tmp_path: Path, storage: str, kills: int
) -> None:
    source, chance = Source(world.node), random.Random(kills)
    for k in range(kills):
        path = tmp_path / f"bag{k}"
        recorder = processes.start("recorder", bag=path, storage=storage)
        world.diagnostics.pop("recorder", None)
        until(lambda path=path: world.says("recorder", f"recording {path}"), what="the recorder")
        time.sleep(1.5 + chance.random())
        last = source.sent
        recorder.kill()
        recorder.wait()
        done = repair(path)
        numbers = recorded(path)
        assert done.messages >= len(numbers) > 0
        assert numbers == sorted(set(numbers))
        assert (last - numbers[-1]) * RATE_S <= LOST_S, f"kill {k}: {last - numbers[-1]} messages lost"
        opens_elsewhere(path, storage, len(numbers))


def opens_elsewhere(path: Path, storage: str, count: int) -> None:
    """In rosbags by its metadata, and in mcap by its index."""
    from mcap.reader import make_reader
    from rosbags.rosbag2 import Reader

    with Reader(path) as reader:
        states = [one for one in reader.connections if one.topic == "/joint_states"]
        assert sum(1 for _ in reader.messages(states)) == count
    if storage == "mcap":
        with next(path.glob("*.mcap")).open("rb") as stream:
            found = [message for _, _, message in make_reader(stream).iter_messages(topics=["/joint_states"])]
        assert len(found) == count and struct.unpack_from("<I", found[0].data, 0)[0] == 0x100


def test_a_replay_sends_every_message_in_time_and_in_order(processes: Processes, world: World, tmp_path: Path) -> None:
    from bag_files import write_bag
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState

    from vla_ros.ros.convert import array_to_joint_state

    start_ns, heard, clocks = 10**18, [], []
    bag = write_bag(
        tmp_path / "bag",
        [
            (start_ns + k * 5_000_000, "/joint_states", array_to_joint_state(["count"], [float(k)], k))
            for k in range(400)
        ],
    )
    world.node.create_subscription(
        JointState, "/joint_states", lambda m, info: heard.append((info["source_timestamp"] / 1e9, m.position[0])), 400
    )
    world.node.create_subscription(Clock, "/clock", lambda m: clocks.append(m.clock.sec), 10)
    report = tmp_path / "report.json"
    replay = processes.start("replay", bag=bag, rate=2.0, report=report)
    assert replay.wait(60) == 0, processes.output("replay")
    until(lambda: len(heard) == 400, 5, f"the last message: {len(heard)}")
    assert [number for _, number in heard] == list(range(400))
    assert heard[-1][0] - heard[0][0] == pytest.approx(399 * 0.005 / 2, abs=0.3)
    assert json.loads(report.read_text())["messages"] == 400
    assert clocks and set(clocks) <= set(range(10**9, 10**9 + 30))  # it goes on while the replay ends


def test_a_loop_begins_again_and_its_clock_with_it(processes: Processes, world: World, tmp_path: Path) -> None:
    from bag_files import write_bag
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState

    from vla_ros.ros.convert import array_to_joint_state, to_ns

    heard: list[float] = []
    clocks: list[int] = []
    states = [(10**18 + k * 10_000_000, array_to_joint_state(["count"], [float(k)], k)) for k in range(60)]
    bag = write_bag(tmp_path / "bag", [(moment_ns, "/joint_states", state) for moment_ns, state in states])
    world.node.create_subscription(JointState, "/joint_states", lambda m: heard.append(m.position[0]), 400)
    world.node.create_subscription(Clock, "/clock", lambda m: clocks.append(to_ns(m.clock)), 100)
    report = tmp_path / "report.json"
    replay = processes.start("replay", bag=bag, loop=True, report=report)
    until(lambda: len(heard) > 150, 20, f"the third time: {len(heard)}")
    replay.terminate()
    assert replay.wait(10) == 0, processes.output("replay")
    assert heard[:120] == [*map(float, range(60))] * 2
    assert min(b - a for a, b in pairwise(clocks)) < -400_000_000
    figures = json.loads(report.read_text())
    assert figures["messages"] > 120 and figures["late_ms_p50"] < 50


def test_commands_are_replayed_only_where_they_are_asked_for(tmp_path: Path) -> None:
    from bag_files import write_bag
    from std_msgs.msg import Float64MultiArray, String

    from vla_ros.bags.reading.reader import BagError
    from vla_ros.bags.topics import replayed_topics
    from vla_ros.core.robot import load_robot

    robot = load_robot("ur5e_tabletop")
    said = [(1, "/joint_commands", Float64MultiArray()), (2, "/instruction", String()), (3, "/words", String())]
    with open_bag(write_bag(tmp_path / "bag", said)) as bag:
        assert replayed_topics(bag, robot, [], commands=False) == {"/instruction"}
        assert replayed_topics(bag, robot, ["all"], commands=False) == {"/instruction", "/words"}
        assert replayed_topics(bag, robot, [], commands=True) == {"/instruction", "/joint_commands"}
        with pytest.raises(BagError, match="there is no topic /wordz; did you mean '/words'"):
            replayed_topics(bag, robot, ["/wordz"], commands=False)
