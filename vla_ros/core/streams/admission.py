"""What may come in: each check returns the value in house form, or says what is wrong and what would be right."""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_ros.core.errors import MessageError
from vla_ros.core.robot import CameraSpec, RobotSpec
from vla_ros.core.types import NS_PER_S, Vector

MAX_INSTRUCTION = 512  # characters; of a question as well
REFUSED = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control, half a character, line and paragraph separator


def check_image(camera: CameraSpec, image: NDArray[np.uint8]) -> None:
    """Hold an image to (height, width, 3) uint8 RGB, of the size that the contract declares."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        shape = (camera.height or "H", camera.width or "W", 3)
        raise MessageError(f"camera '{camera.name}': the image must be uint8 {shape}, got {image.dtype} {image.shape}")
    if camera.width and image.shape[:2] != (camera.height, camera.width):
        raise MessageError(
            f"camera '{camera.name}': the image is {image.shape[1]}x{image.shape[0]}; the robot's YAML says "
            f"{camera.width}x{camera.height}. Correct width and height there, or leave them out"
        )


def check_state(robot: RobotSpec, positions: ArrayLike) -> Vector:
    """Return (D,) float32, finite, in the order of the contract."""
    state = np.array(positions, dtype=np.float32)
    if state.shape != (len(robot.joints),):
        raise MessageError(f"joint states must have shape ({len(robot.joints)},), got {state.shape}")
    if not np.isfinite(state).all():
        broken = ", ".join(name for name, ok in zip(robot.joint_names, np.isfinite(state), strict=True) if not ok)
        raise MessageError(f"joint states are not finite: {broken}; send a number for every joint")
    return state


def check_instruction(sentence: str, what: str = "the instruction") -> str:
    """Return one line of at most 512 characters with plain blanks and none around it; empty if none was given.

    People copy sentences from everywhere: every kind of Unicode space becomes a blank, and what joins or directs
    characters without being one (Cf: emoji, Arabic, Hindi) stays. Control characters, line ends within the sentence and
    halves of characters are refused with MessageError.
    """
    sentence = sentence.strip()
    if len(sentence) > MAX_INSTRUCTION:
        raise MessageError(f"{what} has {len(sentence)} characters, must be at most {MAX_INSTRUCTION}")
    if "\ufffd" in sentence:  # what rclpy puts in the place of bytes that it cannot decode
        raise MessageError(f"{what} is not UTF-8; send one line of plain text")
    kinds = [unicodedata.category(character) for character in sentence]
    if wrong := [f"U+{ord(character):04X}" for character, kind in zip(sentence, kinds, strict=True) if kind in REFUSED]:
        raise MessageError(f"{what} holds control characters ({wrong[0]}); send one line of plain text")
    return "".join(" " if kind == "Zs" else character for character, kind in zip(sentence, kinds, strict=True))


def check_order(sentence: str) -> str:
    """Return an instruction as above, and refuse an empty one."""
    if not (sentence := check_instruction(sentence)):
        raise MessageError("the instruction is empty; say what to do, for example 'push the red block to the left'")
    return sentence


def check_stamp(what: str, stamp_ns: int, now_ns: int, max_ahead_s: float) -> None:
    """Refuse a stamp from the future: it would stay the newest forever and mask every valid one."""
    ahead_s = (stamp_ns - now_ns) / NS_PER_S
    if ahead_s > max_ahead_s:
        raise MessageError(
            f"{what}: the stamp lies {ahead_s:.3f} s in the future (limit {max_ahead_s} s); "
            "are the clocks synchronised?"
        )
