"""The parts of a robot's contract, as blocks of its YAML: cameras, joints, outputs, synchronisation, guard."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vla_ros.core.checks import camera_name, positive, topic, within
from vla_ros.core.config import Unbounded
from vla_ros.core.errors import ConfigError

MAX_SIDE = 8192
# Of raw images, as sensor_msgs names them; `ros/images.py` reads each.
Encoding = Literal[
    "any",
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "mono16",
    "8UC1",
    "8UC3",
    "yuv422",
    "uyvy",
    "yuv422_yuy2",
    "yuyv",
    "nv12",
    "nv21",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
]
FitKind = Literal["stretch", "letterbox", "crop"]
CommandType = Literal["Float64MultiArray", "JointTrajectory", "JointState"]
JointKind = Literal["revolute", "continuous", "prismatic", "gripper"]


@dataclass(frozen=True, slots=True)
class CropSpec:
    """The part of a camera's picture to use: its upper left corner, and its size [pixels]."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        within(self, x=(0, MAX_SIDE - 1), y=(0, MAX_SIDE - 1), width=(1, MAX_SIDE), height=(1, MAX_SIDE))


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera: the name that policies know it by, its topic, and what an image on it must be.

    name: letters, digits and '_'; it names a folder and a key in datasets, and the world model's topics.
    width, height: of the pictures that arrive [pixels]; left out, any size will do, as long as it does not change.
        A policy gets them at the size that it was trained with.
    encoding: what arrives; any, if left out.
    crop: the part of the picture to use.
    rotate: how far to turn it then, clockwise [degrees], for a camera that is mounted sideways or upside down.
    compressed: subscribe to `<topic>/compressed` (sensor_msgs/CompressedImage) in place of the raw image.
    rate_hz: the rate to expect; frames within half a period of each other may replace one another.
    """

    name: str
    topic: str
    width: int = 0
    height: int = 0
    encoding: Encoding = "any"
    compressed: bool = False
    rate_hz: float = 30.0
    crop: CropSpec | None = None
    rotate: Literal[0, 90, 180, 270] = 0

    def __post_init__(self) -> None:
        if not (0 <= self.width <= MAX_SIDE and 0 <= self.height <= MAX_SIDE) or (self.width > 0) != (self.height > 0):
            raise ConfigError(
                f"camera size must be 1 to {MAX_SIDE} pixels a side, or left out, got {self.width} x {self.height}"
            )
        if self.crop and self.width and not self._holds(self.crop):
            raise ConfigError(f"crop must lie within the picture of {self.width} x {self.height} pixels")
        positive("rate_hz", self.rate_hz)
        camera_name(self.name)
        topic(self.topic)

    def _holds(self, box: CropSpec) -> bool:
        return box.x + box.width <= self.width and box.y + box.height <= self.height

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of a picture after `crop` and `rotate`; None if the YAML leaves it open."""
        if not (self.crop or self.width):
            return None
        box = self.crop or self
        return (box.width, box.height) if self.rotate in (90, 270) else (box.height, box.width)


@dataclass(frozen=True, slots=True)
class GripperSpec:
    """A gripper that is told to be open or closed and nothing in between (see core/execution/gripper.py).

    Thresholds are on the way from open (0) to closed (1); between them the gripper stays as it is.
    closed_at: which limit of the joint is the closed end.
    """

    close_above: float = 0.6
    open_below: float = 0.4
    closed_at: Literal["upper", "lower"] = "upper"

    def __post_init__(self) -> None:
        if not 0.0 < self.open_below < self.close_above < 1.0:
            raise ConfigError(
                "thresholds must be 0 < open_below < close_above < 1, "
                f"got open_below {self.open_below} and close_above {self.close_above}"
            )


@dataclass(frozen=True, slots=True)
class JointSpec:
    """One joint, in rad (revolute, continuous), m (prismatic) or its own unit (gripper), and per s, s^2, s^3 of it.

    lower, upper: left out where a continuous joint has no ends; -.inf and .inf say the same.
    kind: a continuous joint turns without end. Readings that differ by full turns are the same place, however its
        driver wraps them. Its commands go on counting: from 3.1 across the seam to 3.2, never back by a full turn.
    gripper: for a joint of kind gripper that should only open and close; without it, it follows the plan. A gripper is
        held to its velocity, not to its acceleration and jerk.
    """

    name: str
    lower: Unbounded = -math.inf
    upper: Unbounded = math.inf
    max_velocity: float = math.nan
    max_acceleration: float = math.nan
    max_jerk: float = math.nan
    kind: JointKind = "revolute"
    gripper: GripperSpec | None = None

    def __post_init__(self) -> None:
        for limit in () if self.kind == "continuous" else ("lower", "upper"):
            if not math.isfinite(getattr(self, limit)):
                raise ConfigError(
                    f"the key '{limit}' is missing; only kind: continuous turns without end. "
                    "Add lower and upper, or kind: continuous"
                )
        if not self.lower < self.upper:
            raise ConfigError(f"lower {self.lower} is not below upper {self.upper}")
        for limit in ("max_velocity", "max_acceleration", "max_jerk"):
            if math.isnan(getattr(self, limit)):
                raise ConfigError(f"the key '{limit}' is missing")
            positive(limit, getattr(self, limit))
        if self.gripper and self.kind != "gripper":
            raise ConfigError(f"a joint with a 'gripper' block must be kind: gripper, got kind: {self.kind}")


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Where commands go, as which message, and how often [Hz]; a gripper's no faster than the arm's.

    interface: what the numbers of a Float64MultiArray are: positions, or velocities per s. Velocities are those of the
        commanded motion and lead back to it from where the robot is; a stop ramps them down to zero.
    """

    topic: str
    type: CommandType
    rate_hz: float = 100.0
    interface: Literal["position", "velocity"] = "position"

    def __post_init__(self) -> None:
        if self.interface == "velocity" and self.type != "Float64MultiArray":
            raise ConfigError(f"interface: velocity needs type: Float64MultiArray, got type: {self.type}")
        if not 1.0 <= self.rate_hz <= 1000.0:
            raise ConfigError(f"rate_hz must be 1 to 1000, got {self.rate_hz}")
        topic(self.topic)


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """How streams become one observation, live and from a bag.

    tolerance_s: the widest spread of stamps within one observation, and of a frame from its place in the history [s].
    align: which value of a stream belongs to a moment. nearest: the nearest within the tolerance; one lost frame of the
        history is bridged by the one before it. hold: the newest that is not later, up to `max_age_s` old. drop: as
        nearest, and nothing is bridged: without a value within the tolerance there is no observation.
    history, history_step_s: T frames, this far apart [s].
    max_age_s: an older newest stamp is stale [s].
    max_ahead_s: a stamp further in the future is refused [s].
    """

    tolerance_s: float = 0.05
    history: int = 1
    history_step_s: float = 0.1
    max_age_s: float = 0.5
    max_ahead_s: float = 0.1
    align: Literal["nearest", "hold", "drop"] = "nearest"

    def __post_init__(self) -> None:
        for name in ("tolerance_s", "history_step_s", "max_age_s", "max_ahead_s"):
            positive(name, getattr(self, name))
        if not 1 <= self.history <= 64:
            raise ConfigError(f"history must be 1 to 64 frames, got {self.history}")


@dataclass(frozen=True, slots=True)
class GuardSpec:
    """When motion stops. Times in s, distances in the joint's unit.

    plan_timeout_s: oldest observation that a moving plan may answer. After it the arm comes to rest and waits.
    resume_within_s: how long it waits for a fresh plan that begins near it; after that it is a fault, and has to be
        armed again. 0: a fault at once.
    joint_state_timeout_s: oldest joint states that motion may rely on.
    position_margin: commands keep this far inside the limits of arm joints.
    limit_tolerance: a plan further outside the limits than this is a fault; below it is clamped.
    max_jump: a plan that starts further from the measured position (arm joints) is a fault.
    max_following_error: a robot whose arm joints are further from what they were told is a fault: it does not follow.
    dead_man_s: an armed robot goes on only while std_msgs/Empty comes on the topic `alive` (beside the commander) at
        least this often [s], and arming needs it; 0 asks for none.
    reading_slack: how much further than `max_velocity` allows a joint's reading may be from the one before it (a tenth
        of the joint's range at the most); one further off is not believed, and is a fault.
    gripper_hold: what a stop holds a gripper at; "commanded" keeps its grip on what it carries.
    """

    plan_timeout_s: float = 0.45
    resume_within_s: float = 2.0
    joint_state_timeout_s: float = 0.1
    position_margin: float = 0.0
    limit_tolerance: float = 0.1
    max_jump: float = 0.5
    max_following_error: float = 0.25
    dead_man_s: float = 0.0
    reading_slack: float = 0.05
    gripper_hold: Literal["measured", "commanded"] = "measured"

    def __post_init__(self) -> None:
        for name in ("plan_timeout_s", "joint_state_timeout_s", "max_jump", "max_following_error", "reading_slack"):
            positive(name, getattr(self, name))
        for name in ("position_margin", "limit_tolerance", "resume_within_s", "dead_man_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
