"""Drive an arm with the commander, without ROS, and watch it stop.

    python examples/04_commander_without_ros.py

The commander turns action chunks into commands that keep every limit. It is pure: time and measurements come in as
arguments. The node `commander` is a thin rind around this class.
"""

from __future__ import annotations

import numpy as np

import vla_ros

PERIOD_NS, STEP_NS = 10_000_000, 100_000_000


def plan(robot: vla_ros.RobotSpec, now_ns: int, position: np.ndarray) -> vla_ros.ActionChunk:
    """Return one second of turning the first joint at 0.5 rad/s."""
    actions = np.repeat(position[None], 10, axis=0).astype(np.float32)
    actions[:, 0] += 0.05 * np.arange(1, 11)
    return vla_ros.ActionChunk(now_ns, now_ns + STEP_NS, STEP_NS, actions, robot.joint_names)


def main() -> None:
    """Arm, move for a second, then let the joint states lie."""
    robot = vla_ros.load_robot("ur5e_tabletop")
    commander, position = vla_ros.Commander(robot), np.array([0.0, -1.5, 1.9, -1.97, -1.57, 0.0, 0.0])
    armed, told = False, ""
    for now_ns in range(PERIOD_NS, 2_500_000_000, PERIOD_NS):
        lying = now_ns > 1_500_000_000
        commander.on_state(now_ns, np.zeros(7) if lying else position, now_ns)  # a driver that reconnects, say
        if not armed and now_ns > 200_000_000:
            refusal = commander.arm(now_ns)
            armed = refusal is None
            print(f"{now_ns / 1e9:.2f} s: {refusal or 'armed'}")
        if armed and now_ns % (4 * STEP_NS) == 0:
            commander.on_chunk(plan(robot, now_ns, position), now_ns)
        verdict = commander.tick(now_ns)
        if verdict.command is not None:
            position = verdict.command  # a perfect arm
        if verdict.reason != told:
            told = verdict.reason
            doing = told or "holding, or moving along the plan"
            print(f"{now_ns / 1e9:.2f} s: {verdict.mode.value}: {doing}; shoulder at {position[0]:+.3f} rad")
    print(f"at rest at {position[0]:+.3f} rad, held until a person arms again")


if __name__ == "__main__":
    main()
