"""Bring a camera's picture to the size that a model was trained with. In core, OpenCV is used here only.

Live nodes, bags and evaluation come through this, so that the same message gives the same pixels everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import MessageError
from vla_ros.core.robot_parts import CameraSpec, FitKind

Image = NDArray[np.uint8]
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}

cv2.setNumThreads(1)  # a picture takes less than a millisecond, and the policy needs the cores


def framed(image: Image, camera: CameraSpec) -> Image:
    """Cut the camera's `crop` out of (H, W, 3), and turn it by `rotate`. MessageError if the box is not inside."""
    if (box := camera.crop) is not None:
        height, width = image.shape[:2]
        if box.x + box.width > width or box.y + box.height > height:
            raise MessageError(
                f"camera '{camera.name}': crop {box.width}x{box.height} at ({box.x}, {box.y}) must lie in the picture, "
                f"which is {width}x{height}"
            )
        image = image[box.y : box.y + box.height, box.x : box.x + box.width]
    if camera.rotate:
        image = cv2.rotate(np.ascontiguousarray(image), TURNS[camera.rotate])  # type: ignore[assignment]
    return image


def fitted(image: Image, width: int, height: int, fit: FitKind) -> Image:
    """Return (height, width, 3); the picture itself if it has that size.

    stretch: every side by its own factor. letterbox: the whole picture, centred, with black bars, as openpi's
    `resize_with_pad`. crop: the largest centred part of the right shape.
    Shrinking averages areas, so that thin things do not vanish; growing is bilinear.
    """
    if image.shape[:2] == (height, width):
        return image
    try:
        if fit == "letterbox":
            return _letterboxed(image, width, height)
        return _resized(_middle(image, width, height) if fit == "crop" else image, width, height)
    except cv2.error as error:  # of sides beyond what OpenCV counts to
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise MessageError(f"a picture of {size} cannot be brought to {width}x{height}: {error}") from None


def _resized(image: Image, width: int, height: int) -> Image:
    """Shrink one side and then the other where one grows and one shrinks: areas of less than a pixel are no mean."""
    image = _halved(np.ascontiguousarray(image), width, height)
    rows, columns = image.shape[:2]
    if (height < rows) != (width < columns) and height != rows and width != columns:
        image = _resized(image, min(width, columns), min(height, rows))
    shrinks = height < image.shape[0] or width < image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=way)  # type: ignore[return-value]


def _halved(image: Image, width: int, height: int) -> Image:
    """Halve while that leaves enough: a mean of whole pixels costs a tenth of a mean of parts of pixels."""
    rows, columns = image.shape[:2]
    while rows % 2 == columns % 2 == 0 and rows >= 2 * height and columns >= 2 * width:
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return image


def _middle(image: Image, width: int, height: int) -> Image:
    rows, columns = image.shape[:2]
    high, wide = min(rows, max(1, columns * height // width)), min(columns, max(1, rows * width // height))
    top, left = (rows - high) // 2, (columns - wide) // 2
    return image[top : top + high, left : left + wide]


def _letterboxed(image: Image, width: int, height: int) -> Image:
    rows, columns = image.shape[:2]
    ratio = max(columns / width, rows / height)
    high, wide = max(1, int(rows / ratio)), max(1, int(columns / ratio))
    found = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    found[top : top + high, left : left + wide] = _resized(image, wide, high)
    return found
