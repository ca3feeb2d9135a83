"""Errors of reading and writing bags."""

from __future__ import annotations

from vla_ros.core.errors import VlaRosError


class BagError(VlaRosError):
    """A bag, or a message in it, that cannot be read or written."""
