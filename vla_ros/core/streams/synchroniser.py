"""Camera images, joint states and the instruction become one observation, synchronised by stamp."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_ros.core.contract import CameraContract
from vla_ros.core.errors import MessageError
from vla_ros.core.robot import RobotSpec, SyncSpec
from vla_ros.core.streams.admission import check_image, check_instruction, check_stamp, check_state
from vla_ros.core.streams.buffer import StreamBuffer
from vla_ros.core.streams.image_fit import fitted, framed
from vla_ros.core.types import NS_PER_S, Observation, Vector

__all__ = ["StreamBuffer", "Synchroniser"]

Image = NDArray[np.uint8]
T = TypeVar("T")
NOTHING = "nothing received yet"
_STATE_GAP_NS = 2_000_000


class Synchroniser:
    """Streams in, the newest synchronised observation out. Every method may be called from any thread.

    cameras: the cameras that matter; all of the robot's by default. Pictures of one that is given as a model's
        contract are brought to the size that it says; of others they stay as they are, but for crop and rotate.
    history, history_step_s: where a policy's contract differs from the robot's `sync` block.
    """

    def __init__(
        self,
        robot: RobotSpec,
        *,
        cameras: Iterable[str | CameraContract] | None = None,
        history: int | None = None,
        history_step_s: float | None = None,
    ) -> None:
        wanted = tuple(cameras) if cameras is not None else robot.camera_names
        self._fits = {camera.name: camera for camera in wanted if isinstance(camera, CameraContract)}
        self._arriving: dict[str, tuple[int, ...]] = {}  # the shape of a camera's pictures, which must not change
        names = [camera if isinstance(camera, str) else camera.name for camera in wanted]
        self.sync = replace(
            robot.sync,
            history=history or robot.sync.history,
            history_step_s=history_step_s or robot.sync.history_step_s,
        )
        self.reason = "no image and no joint states yet"
        self._robot = robot
        self._cameras = {name: robot.camera(name) for name in names}
        self._tolerance_ns = round(self.sync.tolerance_s * NS_PER_S)
        self._images: dict[str, StreamBuffer[Image]] = {
            name: _buffer(self.sync, min(self._tolerance_ns // 2, round(NS_PER_S / spec.rate_hz / 2)))
            for name, spec in self._cameras.items()
        }
        self._states: StreamBuffer[Vector] = _buffer(self.sync, _STATE_GAP_NS)
        self._streams: tuple[StreamBuffer[Any], ...] = (*self._images.values(), self._states)
        self._instruction = ""
        self._last_ns: int | None = None
        self._lock = threading.RLock()

    def push_image(self, camera: str, stamp_ns: int, image: Image, now_ns: int | None = None) -> bool:
        """Take one (H, W, 3) uint8 RGB image. False for an old or doubled stamp; MessageError for what is wrong.

        The image is kept as it is, without a copy: the caller must not write to it again.
        """
        if camera not in self._cameras:
            raise MessageError(f"camera '{camera}' is not expected; known: {', '.join(self._cameras)}")
        check_image(self._cameras[camera], image)
        self._check_stamp(f"camera '{camera}'", stamp_ns, now_ns)
        self._check_size(camera, image)
        found = self._framed(camera, image)
        self._arriving.setdefault(camera, image.shape)  # of one that was taken: a refused one decides nothing
        return self._images[camera].push(stamp_ns, found)

    def _check_size(self, camera: str, image: Image) -> None:
        before = self._arriving.get(camera, image.shape)
        if image.shape != before:
            raise MessageError(
                f"camera '{camera}': the image is {image.shape[1]}x{image.shape[0]}, the first was "
                f"{before[1]}x{before[0]}; a camera must not change its size while it is in use"
            )

    def _framed(self, camera: str, image: Image) -> Image:
        image = framed(image, self._cameras[camera])
        fit = self._fits.get(camera)
        return fitted(image, fit.width, fit.height, fit.fit) if fit else image

    def push_state(self, stamp_ns: int, positions: ArrayLike, now_ns: int | None = None) -> bool:
        """Take (D,) joint positions in the contract's order. False for an old or doubled stamp."""
        state = check_state(self._robot, positions)
        self._check_stamp("joint states", stamp_ns, now_ns)
        return self._states.push(stamp_ns, state)

    def set_instruction(self, sentence: str) -> bool:
        """Put a sentence in force; return whether it is another. On MessageError the former one stays in force."""
        checked = check_instruction(sentence)
        with self._lock:
            before, self._instruction = self._instruction, checked
        return checked != before

    @property
    def instruction(self) -> str:
        """The sentence in force; empty where none was given."""
        return self._instruction

    def reset(self) -> None:
        """Forget every image and state (new episode, clock jumped back). The instruction stays in force."""
        with self._lock:
            for stream in self._streams:
                stream.clear()
            self._arriving.clear()
            self._last_ns = None
            self.reason = "no image and no joint states yet"

    def observe(self, now_ns: int, *, repeat: bool = False) -> Observation | None:
        """Return the newest observation, or None; `reason` then says what is wrong, or is empty if nothing new came.

        repeat: return the last observation's stamp again where nothing newer came.
        """
        with self._lock:
            try:
                return self._observe(now_ns, repeat)
            except _NotReady as why:
                self.reason = str(why)
                return None

    def _observe(self, now_ns: int, repeat: bool) -> Observation | None:
        self._forget_future(now_ns)
        anchor_ns = self._anchor(now_ns)
        self.reason = ""
        if self._last_ns is not None and anchor_ns <= self._last_ns and not repeat:
            return None
        moments = [anchor_ns - k * round(self.sync.history_step_s * NS_PER_S) for k in range(self.sync.history)][::-1]
        images = {
            name: np.stack([self._at(f"camera '{name}'", stream, t, anchor_ns) for t in moments])
            for name, stream in self._images.items()
        }
        state = np.stack([self._at("joint states", self._states, t, anchor_ns) for t in moments])
        self._last_ns = anchor_ns
        return Observation(anchor_ns, images, state, self._instruction)

    def _anchor(self, now_ns: int) -> int:
        """Return the oldest of the cameras' newest stamps, at which the faster joint states are looked up."""
        newest = {f"camera '{name}'": stream.newest_ns for name, stream in self._images.items()}
        newest["joint states"] = self._states.newest_ns
        stamps: list[int] = []
        for what, stamp in newest.items():
            if stamp is None:
                raise _NotReady(f"{what}: {NOTHING}")
            if now_ns - stamp > self.sync.max_age_s * NS_PER_S:
                age_s = (now_ns - stamp) / NS_PER_S
                raise _NotReady(f"{what}: stale, {age_s:.2f} s old (limit {self.sync.max_age_s} s)")
            stamps.append(stamp)
        return min(stamps[:-1])

    def _at(self, what: str, stream: StreamBuffer[T], wanted_ns: int, anchor_ns: int) -> T:
        """Return the value at a moment, as `sync.align` says. The start of a history is bridged by the first value."""
        if self.sync.align == "hold":
            return self._held(what, stream, wanted_ns, anchor_ns)
        nearest = stream.nearest(wanted_ns)
        if nearest is not None and abs(nearest[0] - wanted_ns) <= self._tolerance_ns:
            return nearest[1]
        before = stream.at_or_before(wanted_ns)
        if before is None or wanted_ns == anchor_ns or self.sync.align == "drop":
            off_s = math.inf if nearest is None else (nearest[0] - wanted_ns) / NS_PER_S
            raise _NotReady(f"{what}: nearest is {off_s:+.3f} s off the others (tolerance {self.sync.tolerance_s} s)")
        if wanted_ns - before[0] > self.sync.history_step_s * NS_PER_S + self._tolerance_ns:
            raise _NotReady(f"{what}: a gap of {(wanted_ns - before[0]) / NS_PER_S:.2f} s in the history")
        return before[1]

    def _held(self, what: str, stream: StreamBuffer[T], wanted_ns: int, anchor_ns: int) -> T:
        before = stream.at_or_before(wanted_ns)
        if before is None:
            raise _NotReady(f"{what}: {NOTHING}")
        if wanted_ns - before[0] > self.sync.max_age_s * NS_PER_S:
            raise _NotReady(f"{what}: {(wanted_ns - before[0]) / NS_PER_S:.2f} s old (limit {self.sync.max_age_s} s)")
        if wanted_ns == anchor_ns and before[0] - wanted_ns > self._tolerance_ns:
            raise _NotReady(f"{what}: the first value is {(before[0] - wanted_ns) / NS_PER_S:+.3f} s off the others")
        return before[1]

    def _forget_future(self, now_ns: int) -> None:
        limit_ns = now_ns + round(self.sync.max_ahead_s * NS_PER_S)
        for stream in self._streams:
            stream.drop_after(limit_ns)
        if self._last_ns is not None and self._last_ns > limit_ns:
            self._last_ns = None

    def _check_stamp(self, what: str, stamp_ns: int, now_ns: int | None) -> None:
        if now_ns is not None:
            check_stamp(what, stamp_ns, now_ns, self.sync.max_ahead_s)


class _NotReady(Exception):
    """Why there is no observation."""


def _buffer(sync: SyncSpec, gap_ns: int) -> StreamBuffer[T]:
    span_s = (sync.history - 1) * sync.history_step_s + 2 * sync.tolerance_s + min(sync.max_age_s, 1.0)
    return StreamBuffer(2 + math.ceil(span_s * NS_PER_S / gap_ns), gap_ns)
