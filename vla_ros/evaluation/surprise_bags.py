"""The signs of recorded runs: a bag's messages in the order of their reception, through the code of the live node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_ros.bags.contract_topics import by_contract
from vla_ros.bags.episodes.commanded import CHUNK_TOPIC
from vla_ros.bags.inputs import check_inputs, check_kinds, marked_spans, names, output_kinds, timed
from vla_ros.bags.reading.reader import Bag, open_bag
from vla_ros.core.abilities import WorldModel
from vla_ros.core.errors import ConfigError, ContractError, MessageError
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.surprise.companion import Companion
from vla_ros.core.surprise.signs import Reading
from vla_ros.core.types import NS_PER_S
from vla_ros.policies.loading import check_contract, load_world_model
from vla_ros.ros.convert import command_to_array, trajectory_to_chunk
from vla_ros.ros.ingest import INSTRUCTION, JOINT_STATES, Ingest

PREDICT_EVERY_S = 0.4
Episodes = list[list[Reading]]


def watch_bags(bags: Sequence[Path], robot: str, model: Path, samples: int, threads: int, sim_time: bool) -> Episodes:
    """Return the readings of every episode that is marked as a success; of a bag without marks, of all of it."""
    spec, world = load_robot(robot), load_world_model(model, threads=threads)
    check_contract(world.contract, spec)
    found: Episodes = []
    for path in bags:
        with open_bag(path) as bag:
            found += _BagWatch(by_contract(bag, spec), spec, world, samples).watch(sim_time)
    return found


class _BagWatch:
    """One bag's."""

    def __init__(self, bag: Bag, robot: RobotSpec, world: WorldModel, samples: int) -> None:
        contract = world.contract
        cameras = tuple(camera.name for camera in contract.cameras)
        self._bag, self._robot = bag, robot
        self._synchroniser = Synchroniser(
            robot, cameras=contract.cameras, history=contract.history, history_step_s=contract.step_s
        )
        self._ingest = Ingest(robot, self._synchroniser, cameras)
        self._sources = {source.topic: source for source in self._ingest.sources}
        self._outputs = {spec.topic: columns for spec, columns in robot.outputs if spec.interface == "position"}
        self._companion = Companion(world, robot, samples, round(PREDICT_EVERY_S * NS_PER_S))

    def watch(self, sim_time: bool) -> Episodes:
        """The readings of its episodes."""
        check_inputs(self._bag, self._robot, self._ingest.sources)
        check_kinds(self._bag, output_kinds(self._robot, CHUNK_TOPIC))
        if CHUNK_TOPIC not in names(self._bag):
            raise ConfigError(f"{self._bag.path}: has no {CHUNK_TOPIC}; without the plans nothing can be imagined")
        spans = marked_spans(self._bag, sim_time)
        found: Episodes = [[] for _ in range(max(len(spans), 1))]
        for topic, message, now_ns in timed(self._bag, (*self._sources, *self._outputs, CHUNK_TOPIC), sim_time):
            readings = self._take(topic, message, now_ns)
            within = [i for i, span in enumerate(spans) if span.start_ns <= now_ns <= span.end_ns] if spans else [0]
            for i in within:
                found[i] += readings
        return [r for i, r in enumerate(found) if r and (not spans or spans[i].success is not False)]

    def _take(self, topic: str, message: Any, now_ns: int) -> list[Reading]:
        try:
            if topic in self._outputs:
                columns = self._outputs[topic]
                joints = [self._robot.joint_names[column] for column in columns]
                self._companion.command(now_ns, command_to_array(message, joints), columns)
                return []
            if topic == CHUNK_TOPIC:
                self._companion.follow(trajectory_to_chunk(message))
                self._companion.imagine_if_due(now_ns)
                return []
        except (MessageError, ContractError):
            return []  # what the live node would have refused
        source = self._sources[topic]
        if not self._ingest.take(source, message, now_ns) or source.name in (JOINT_STATES, INSTRUCTION):
            return []
        observation = self._synchroniser.observe(now_ns)
        if observation is None:
            return []
        self._companion.see(observation)
        readings = [self._companion.look(observation), *(judged.reading for judged in self._companion.judge())]
        self._companion.imagine_if_due(now_ns)
        return [reading for reading in readings if reading]
