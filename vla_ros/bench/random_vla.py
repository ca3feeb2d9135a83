"""A model folder of kind `vla` with random weights, for tests and to measure what does not depend on weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from vla_ros.core.contract import CameraContract, PolicyContract
from vla_ros.core.robot import RobotSpec
from vla_ros.datasets.vocabulary import tabletop_words
from vla_ros.policies.backbones.tiny import BackboneConfig, TinyBackbone
from vla_ros.policies.model_folder import ModelFolder
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.vla import HeadSizes, VLAFolder, VLAFormulation

BACKBONE = "backbone"
STEP_S, EXECUTE_STEPS, SPREAD = 0.1, 2, 0.002


def write_random_vla(
    robot: RobotSpec,
    folder: Path,
    formulation: VLAFormulation,
    *,
    window: int = 8,
    horizon: int = 12,
    head: HeadSizes | None = None,
    backbone: BackboneConfig | None = None,
) -> None:
    """Write a folder for `robot`, which has square cameras. Plans stay within a few thousandths of a radian.

    A backbone from a library must already have its own folder in `folder`.
    """
    cameras = tuple(CameraContract(camera.name, camera.width, camera.height) for camera in robot.cameras)
    contract = PolicyContract(cameras, robot.joint_names, STEP_S, horizon, EXECUTE_STEPS)
    remembers = formulation in ("policy_head", "interleaved")
    head = head or HeadSizes("lstm" if formulation == "policy_head" else "fc")
    gripper = robot.joint_names[int(robot.is_gripper.argmax())]
    config = VLAFolder(
        "vla",
        contract,
        formulation,
        backbone or TinyBackbone(image_size=robot.cameras[0].width),
        head,
        window if remembers else 1,
        "lift the red block",
        gripper,
        provenance={"weights": "random"},
    )
    torch.manual_seed(0)
    joints = len(robot.joints)
    zeros, ones = np.zeros(joints, np.float32), np.ones(joints, np.float32)
    rows = (horizon, 1)
    half, middle = np.tile(ones * SPREAD, rows), np.tile(zeros, rows)
    half[:, robot.is_gripper], middle[:, robot.is_gripper] = 0.5, 0.5
    model = config.build(folder)
    with torch.no_grad():
        for weights in model.backbone.parameters():
            weights.mul_(
                4 if weights.dim() > 1 else 1
            )  # initial weights are so small that the output hardly depends on the input
    statistics = Statistics(robot.joint_names, ~robot.is_gripper, zeros, ones, middle, half)
    tiny = isinstance(config.backbone, TinyBackbone)
    words, fill = ([tabletop_words()], None) if tiny else ([], lambda part: _kept(folder, part))
    ModelFolder.write(folder, config, model, statistics, *words, fill=fill)


def _kept(folder: Path, part: Path) -> None:
    """Return the existing folder of the backbone."""
    shutil.copytree(folder / BACKBONE, part / BACKBONE)
