"""What holds for every test: a ROS domain of its own, strict message fields, one thread, repeatable examples."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "helpers"))  # a package named `test` would hide Python's own

if TYPE_CHECKING:
    from live_nodes import Processes, World

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background, and by all that we start
for _ignored in (signal.SIGHUP, signal.SIGQUIT):  # under nohup, too
    signal.signal(_ignored, signal.SIG_DFL)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain that no other test of this run uses, also in the environment of processes that the test starts."""
    from live_nodes import new_domain

    domain = new_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    return domain


@pytest.fixture
def rclpy_context(ros_domain: int) -> Iterator[object]:
    """rclpy, initialised on the test's own domain and shut down after it."""
    import rclpy

    from vla_ros.ros.process.starting import start_ros

    # What the tests have imported is never garbage; walking it took 0.2 s, in which the test's robot said nothing.
    gc.collect()
    gc.freeze()
    start_ros(domain_id=ros_domain)
    yield rclpy.get_default_context()
    rclpy.try_shutdown()


@pytest.fixture
def processes(ros_domain: int, tmp_path: Path) -> Iterator[Processes]:
    """Starts nodes on the test's domain."""
    from live_nodes import live_processes

    with live_processes(tmp_path) as found:
        yield found


@pytest.fixture
def world(processes: Processes, rclpy_context: object) -> Iterator[World]:
    """A node of the test's own on the test's domain, and everything it hears."""
    from live_nodes import live_world

    with live_world() as found:
        yield found


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete model folder of kind `uwm` for the tabletop robot: real code and files, random weights, small."""
    import numpy as np
    import torch

    from vla_ros.core.contract import CameraContract, PolicyContract
    from vla_ros.core.robot import load_robot
    from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
    from vla_ros.networks.uwm.config import UWMConfig
    from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
    from vla_ros.networks.uwm.model import UnifiedWorldModel
    from vla_ros.policies.model_folder import ModelFolder
    from vla_ros.policies.statistics import Statistics
    from vla_ros.policies.uwm import UWMFolder

    folder = tmp_path_factory.mktemp("models") / "tiny"
    robot = load_robot("ur5e_tabletop")
    joints = tuple(joint.name for joint in robot.joints)
    cameras = tuple(CameraContract(c.name, c.width, c.height) for c in robot.cameras)
    encoder = KeypointEncoderConfig(7, (8, 8, 8), image_features=16, obs_features=32, text_dim=8)
    network = UWMConfig(encoder, AutoencoderConfig((8, 8, 8), norm_groups=4), dim=32, depth=1, heads=2, timestep_dim=16)
    config = UWMFolder("uwm", PolicyContract(cameras, joints, 0.1, 12, 2), network, (6, 12), 2)
    torch.manual_seed(0)
    model = UnifiedWorldModel(network)
    torch.nn.init.normal_(model.noise_pred_net.head.linear.weight, std=0.1)  # untrained it is zero: no answers
    spread = np.full((12, 7), 0.01, dtype=np.float32)
    turn = np.zeros_like(spread)
    turn[:, 0] = 0.02 * np.arange(1, 13)  # whatever the weights say, the shoulder turns at about 0.2 rad/s
    relative = np.array([True] * 6 + [False])
    statistics = Statistics(joints, relative, np.zeros(7, np.float32), np.ones(7, np.float32), turn, spread)
    ModelFolder.write(folder, config, model, statistics)
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[object]:
    """A real browser without a window; the test is skipped where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromium-driver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-sync",
        "disable-background-networking",
        "disable-component-update",
        "window-size=1400,1000",
        f"user-data-dir={tmp_path / 'browser'}",
    ):
        options.add_argument(f"--{word}")
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()
