"""A process of its own that publishes on every input of the graph as fast as 1 kHz, and says how fast it was.

`flood.py ROBOT SECONDS` with the robot's contract; run on the graph's ROS domain.
"""

from __future__ import annotations

import struct
import sys
import time

import numpy as np
import rclpy
from rclpy.serialization import serialize_message
from robot import HOME
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk
from vla_ros.ros.convert import array_to_joint_state, chunk_to_trajectory
from vla_ros.ros.images import array_to_compressed, array_to_image
from vla_ros.ros.qos import COMMAND, LATCHED, SENSOR

PERIOD_S = 0.001
SENTENCES = 1000


def main() -> None:
    robot, seconds = load_robot(sys.argv[1]), float(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node("flood")
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    chunk = ActionChunk(1, 2, 100_000_000, np.repeat(HOME[None], 12, axis=0).astype(np.float32), robot.joint_names)
    topics = [
        (JointState, robot.joint_states_topic, SENSOR, array_to_joint_state(robot.joint_names, HOME, 1)),
        (JointTrajectory, "action_chunk", COMMAND, chunk_to_trajectory(chunk)),
    ]
    for camera in robot.cameras:
        kind, suffix = (CompressedImage, "/compressed") if camera.compressed else (Image, "")
        message = array_to_compressed(frame, 1) if camera.compressed else array_to_image(frame, 1)
        topics.append((kind, camera.topic + suffix, SENSOR, message))
    outputs = [
        (node.create_publisher(kind, topic, qos), bytearray(serialize_message(message)))
        for kind, topic, qos, message in topics
    ]
    sentences = node.create_publisher(String, robot.instruction_topic, LATCHED)
    start_s, rounds = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - start_s) < seconds:
        if rounds * PERIOD_S > elapsed_s:
            time.sleep(PERIOD_S / 5)
            continue
        now_ns = time.time_ns()
        for publisher, data in outputs:
            struct.pack_into("<iI", data, 4, now_ns // 10**9, now_ns % 10**9)  # the stamp, first in every header
            publisher.publish(bytes(data))
        sentences.publish(String(data=f"push block {rounds % SENTENCES}"))
        rounds += 1
    print(f"{rounds / seconds:.0f} Hz on {len(outputs) + 1} topics", flush=True)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
