"""Write a policy of your own, and run it.

    python examples/02_write_a_policy.py

A policy is any object with a `contract`, `infer` and `reset`. To run it in the policy node, package a module with
`load(folder, device)` and name it in your project's entry points:

    [project.entry-points."vla_ros.policies"]
    wave = "my_package.wave"

A model folder whose config.yaml says `kind: wave` then loads it, on every robot and in every benchmark.
"""

from __future__ import annotations

import numpy as np

import vla_ros

STEPS, STEP_S = 10, 0.1


class WavePolicy:
    """Waves with the first joint, whatever it sees and is told."""

    def __init__(self, robot: vla_ros.RobotSpec) -> None:
        camera = robot.cameras[0]
        self.contract = vla_ros.PolicyContract(
            cameras=(vla_ros.CameraContract(camera.name, camera.width, camera.height),),
            joints=robot.joint_names,
            step_s=STEP_S,
            horizon=STEPS,
            execute_steps=4,
        )

    def reset(self) -> None:
        """Forget the episode; there is nothing to forget."""

    def infer(self, observation: vla_ros.Observation) -> vla_ros.ActionChunk:
        """Plan one second of waving around the present position."""
        step_ns = self.contract.step_ns
        actions = np.repeat(observation.state[-1:], STEPS, axis=0)
        due_s = observation.stamp_ns / 1e9 + STEP_S * np.arange(1, STEPS + 1)
        actions[:, 0] = 0.3 * np.sin(2.0 * due_s)
        return vla_ros.ActionChunk(
            observation.stamp_ns, observation.stamp_ns + step_ns, step_ns, actions, self.contract.joints
        )


def main() -> None:
    """Run it for four seconds of simulated time; it moves, and achieves nothing."""
    robot = vla_ros.load_robot("ur5e_tabletop")
    policy = WavePolicy(robot)
    vla_ros.Planner(policy, robot).warm_up()  # what the policy node does first: refuses plans that are not finite
    environment = vla_ros.make_environment("tabletop")
    try:
        (result,) = vla_ros.evaluate(policy, environment, episodes=1, seed=10_000, limit_s=4.0)
        print(f"waved for {result.seconds:.1f} s; the shoulder is at {environment.joint_positions()[0]:+.2f} rad")
    finally:
        environment.close()


if __name__ == "__main__":
    main()
