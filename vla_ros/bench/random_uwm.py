"""A model folder with random weights for the tabletop's network, to measure what does not depend on weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vla_ros.core.contract import CameraContract, PolicyContract
from vla_ros.core.robot import RobotSpec
from vla_ros.networks.uwm.config import PRESETS
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.model_folder import ModelFolder
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.uwm import UWMFolder

STEP_S, EXECUTE_STEPS, FUTURE_STEPS, SPREAD = 0.1, 2, (6, 12), 0.002


def write_random_model(robot: RobotSpec, folder: Path) -> None:
    """Write a folder for `robot`, which has square cameras. Plans stay within a few hundredths of a radian."""
    tabletop, side = PRESETS["tabletop"], robot.cameras[0].width
    latent_size = side // tabletop.autoencoder.downsampling
    network = replace(tabletop, latent_size=latent_size, views=len(robot.cameras))
    cameras = tuple(CameraContract(camera.name, camera.width, camera.height) for camera in robot.cameras)
    contract = PolicyContract(cameras, robot.joint_names, STEP_S, network.action_len, EXECUTE_STEPS)
    config = UWMFolder("uwm", contract, network, FUTURE_STEPS, provenance={"weights": "random"})
    torch.manual_seed(0)
    joints = len(robot.joints)
    zeros, ones = np.zeros(joints, np.float32), np.ones(joints, np.float32)
    rows = (network.action_len, 1)
    statistics = Statistics(
        robot.joint_names, np.ones(joints, np.bool_), zeros, ones, np.tile(zeros, rows), np.tile(ones * SPREAD, rows)
    )
    ModelFolder.write(folder, config, UnifiedWorldModel(network), statistics)
