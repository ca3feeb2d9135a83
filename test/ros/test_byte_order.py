"""`is_bigendian` says nothing about bytes."""

from __future__ import annotations

import array

import pytest
from sensor_msgs.msg import Image

from vla_ros.ros.images import image_to_array


@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_the_order_of_bytes(is_bigendian):
    data = array.array("B", [1, 2, 3, 4, 5, 6])
    message = Image(width=2, height=1, encoding="bgr8", step=6, is_bigendian=is_bigendian, data=data)
    assert image_to_array(message).tolist() == [[[3, 2, 1], [6, 5, 4]]]
