"""Let the world model imagine what a plan will look like, and compare it with what came.

python examples/06_imagine_a_chunk.py [OUT.png]
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

import vla_ros
from vla_ros.sim.environment import Variant

SECOND_NS = 1_000_000_000


def main(out: str = "out/imagined.png") -> None:
    """Plan, imagine, do it, and write now | imagined | came side by side."""
    model = vla_ros.load_world_model("uwm_tabletop", threads=2)
    policy = vla_ros.load_policy("uwm_tabletop", threads=2)
    environment = vla_ros.make_environment("tabletop")
    try:
        trial = environment.trial(10_000, Variant())
        environment.reset(trial)
        now = vla_ros.observe(environment, model.contract, 0, trial.instruction)
        chunk = policy.infer(now)
        prediction = model.show(model.foresee(now, chunk, samples=4))
        commands = np.concatenate([now.state, chunk.actions])
        for moment_ns in range(0, int(prediction.due_ns[-1]), environment.control_ns):
            step, share = divmod(moment_ns / chunk.step_ns, 1)
            environment.act((1 - share) * commands[int(step)] + share * commands[int(step) + 1])
            environment.step()
        came = vla_ros.observe(environment, model.contract, int(prediction.due_ns[-1]), trial.instruction)
    finally:
        environment.close()
    rows = [np.hstack([now.images[c][-1], prediction.images[c][-1], came.images[c][-1]]) for c in came.images]
    Image.fromarray(np.vstack(rows)).resize((768, 512), Image.Resampling.NEAREST).save(out)
    print(f"{trial.instruction}: {prediction.due_ns[-1] / SECOND_NS:.1f} s ahead, in {out}: now | imagined | came")


if __name__ == "__main__":
    main(*sys.argv[1:2])
