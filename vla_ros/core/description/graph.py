"""What was seen of a robot on its topics in a few seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CameraSeen:
    """A camera topic. width, height: 0 where no picture came. encoding: empty of a compressed one.

    refused: why its pictures cannot be read, such as depth.
    """

    topic: str
    encoding: str = ""
    width: int = 0
    height: int = 0
    rate_hz: float = 0.0
    compressed: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class StatesSeen:
    """A topic of joint states: the joints that its messages named, their last positions, messages per second."""

    topic: str
    names: tuple[str, ...] = ()
    positions: tuple[float, ...] = ()
    rate_hz: float = 0.0
    publishers: int = 0
    stamped: bool = True


@dataclass(frozen=True, slots=True)
class CommandsSeen:
    """A topic that takes commands: the message's name, such as Float64MultiArray, who listens and who writes."""

    topic: str
    type: str
    listeners: int = 0
    writers: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that was seen. description: the URDF on /robot_description; empty if nobody published one."""

    cameras: tuple[CameraSeen, ...] = ()
    states: tuple[StatesSeen, ...] = ()
    commands: tuple[CommandsSeen, ...] = ()
    description: str = ""
    seconds: float = 0.0
