"""Run a policy closed loop in the embedded simulator, without ROS.

python examples/01_run_in_the_simulator.py [MODEL] [EPISODES]
"""

from __future__ import annotations

import sys

import vla_ros


def main(model: str = "uwm_tabletop", episodes: int = 3) -> None:
    """Run some episodes, and print how each ended."""
    policy = vla_ros.load_policy(model, threads=2)
    environment = vla_ros.make_environment("tabletop")
    try:
        results = vla_ros.evaluate(policy, environment, episodes=episodes, seed=10_000)
    finally:
        environment.close()
    for result in results:
        ended = f"done after {result.seconds:.1f} s" if result.success else "not done"
        print(f"{result.instruction:<40} {ended}")
    print(f"success rate: {vla_ros.summarise(results)['success_rate']:.0%}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(count) for count in sys.argv[2:3]))
