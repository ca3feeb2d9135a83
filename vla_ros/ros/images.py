"""Pictures <-> messages. Needs message classes but no running node, so that bags and live topics share it.

Every function from a message raises MessageError where the message does not hold what its header promises.
Encodings are those of sensor_msgs/image_encodings.hpp. OpenCV turns what is more than an order of bytes into RGB.
"""

from __future__ import annotations

import array
import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile
from sensor_msgs.msg import CompressedImage, Image

from vla_ros.core.errors import MessageError
from vla_ros.core.text import name_of, shorten
from vla_ros.ros.convert import to_time

MAX_PIXELS = 16_000_000
MAX_COMPRESSED_BYTES = 64_000_000
Order = tuple[int, int, int]
_RGB, _BGR, _GREY = (0, 1, 2), (2, 1, 0), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a row holds its pixels. channels: bytes of a pixel. order: which of them make RGB; else `code` of cv2 does.

    even: width (and height, of `half_rows`) must be even. half_rows: half as many rows of colours follow (nv12, nv21).
    """

    channels: int
    order: Order | None = None
    code: int = 0
    even: bool = False
    half_rows: bool = False


ENCODINGS = {
    "rgb8": Encoding(3, _RGB),
    "bgr8": Encoding(3, _BGR),
    "rgba8": Encoding(4, _RGB),
    "bgra8": Encoding(4, _BGR),
    "mono8": Encoding(1, _GREY),
    "8UC1": Encoding(1, _GREY),
    "8UC3": Encoding(3, _BGR),
    "mono16": Encoding(2, (1, 1, 1)),  # the high byte of little-endian pixels
    "yuv422": Encoding(2, None, cv2.COLOR_YUV2RGB_UYVY, even=True),
    "uyvy": Encoding(2, None, cv2.COLOR_YUV2RGB_UYVY, even=True),
    "yuv422_yuy2": Encoding(2, None, cv2.COLOR_YUV2RGB_YUY2, even=True),
    "yuyv": Encoding(2, None, cv2.COLOR_YUV2RGB_YUY2, even=True),
    "nv12": Encoding(1, None, cv2.COLOR_YUV2RGB_NV12, even=True, half_rows=True),
    "nv21": Encoding(1, None, cv2.COLOR_YUV2RGB_NV21, even=True, half_rows=True),
    "bayer_rggb8": Encoding(1, None, cv2.COLOR_BayerRGGB2RGB, even=True),
    "bayer_bggr8": Encoding(1, None, cv2.COLOR_BayerBGGR2RGB, even=True),
    "bayer_gbrg8": Encoding(1, None, cv2.COLOR_BayerGBRG2RGB, even=True),
    "bayer_grbg8": Encoding(1, None, cv2.COLOR_BayerGRBG2RGB, even=True),
}
DEPTH = ("16UC1", "32FC1")
COLOUR = "name the camera's colour topic, or publish rgb8"
# Pillow's modes that are 8-bit RGB in one way only; transparency is left out, as of rgba8.
EIGHT_BIT = ("RGB", "L", "RGBA", "LA", "P", "1")


def image_to_array(message: Image, encoding: str | None = None) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB; a view if the message is rgb8. encoding: the only one to accept, if given."""
    kind = _encoding(message.encoding, encoding)
    height, width = int(message.height), int(message.width)
    if not 0 < height * width <= MAX_PIXELS:
        raise MessageError(f"image must have 1 to {MAX_PIXELS} pixels, got {width}x{height}")
    if kind.even and (width % 2 or height % 2):
        raise MessageError(f"image of {message.encoding} must have even sides, got {width}x{height}")
    rows = _rows(message, kind, height * 3 // 2 if kind.half_rows else height, width)
    if kind.order is None:
        flat = rows[..., 0] if kind.channels == 1 else rows
        return cv2.cvtColor(np.ascontiguousarray(flat), kind.code)  # type: ignore[return-value]
    order = (0, 0, 0) if message.encoding == "mono16" and message.is_bigendian else kind.order
    return rows if order == _RGB and kind.channels == 3 else rows[..., list(order)]


def _encoding(arrived: str, wanted: str | None) -> Encoding:
    if arrived in DEPTH:
        raise MessageError(f"image encoding '{arrived}' is a depth picture; {COLOUR}")
    if arrived not in ENCODINGS:
        raise MessageError(f"image encoding '{name_of(arrived)}' is not known; known: {', '.join(ENCODINGS)}")
    if wanted is not None and arrived != wanted:
        raise MessageError(f"image encoding is '{arrived}'; the robot's YAML says '{wanted}'")
    return ENCODINGS[arrived]


def _rows(message: Image, kind: Encoding, height: int, width: int) -> NDArray[np.uint8]:
    """Return (height, width, channels) bytes, without what pads the rows."""
    step, channels = int(message.step), kind.channels
    if step < width * channels:
        raise MessageError(f"image step is {step}; {width} pixels of {message.encoding} need {width * channels}")
    needed = step * (height - 1) + width * channels
    if len(message.data) < needed:
        raise MessageError(
            f"image data holds {len(message.data)} bytes; {width}x{message.height} at step {step} needs {needed}"
        )
    flat = np.frombuffer(message.data, dtype=np.uint8)
    return np.lib.stride_tricks.as_strided(flat, (height, width, channels), (step, channels, 1), writeable=False)


def array_to_image(frame: NDArray[np.uint8], stamp_ns: int, frame_id: str = "") -> Image:
    """Turn (H, W, 3) RGB into an rgb8 image."""
    message = Image(height=frame.shape[0], width=frame.shape[1], encoding="rgb8", step=3 * frame.shape[1])
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame_id
    data = array.array("B")  # any other type is checked byte by byte, a thousand times slower
    data.frombytes(np.ascontiguousarray(frame).tobytes())
    message.data = data
    return message


def compressed_to_array(message: CompressedImage) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB of a JPEG or PNG; the header's size and kind are checked before anything is decoded."""
    if len(message.data) > MAX_COMPRESSED_BYTES:
        raise MessageError(f"compressed image holds {len(message.data)} bytes, must be at most {MAX_COMPRESSED_BYTES}")
    if "compressedDepth" in message.format:
        raise MessageError(f"compressed image is '{name_of(message.format)}', a depth picture; {COLOUR}")
    data = bytes(message.data)
    try:
        picture = Pillow.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if not 0 < picture.width * picture.height <= MAX_PIXELS:
            raise MessageError(
                f"compressed image is {picture.width}x{picture.height}, must be at most {MAX_PIXELS} pixels"
            )
        _refuse_depth(picture)
        found = _jpeg(data, *picture.size) if picture.format == "JPEG" and picture.mode == "RGB" else None
        return np.asarray(picture.convert("RGB")) if found is None else found
    except MessageError:
        raise
    except UnidentifiedImageError:  # whose own words show the address of an object of ours
        begin = data[:8].hex(" ") or "nothing"
        raise MessageError(
            f"compressed image cannot be decoded: it begins with {begin}, and is neither JPEG nor PNG or has a damaged "
            "header; send a whole JPEG or PNG"
        ) from None
    except Exception as error:  # Pillow's readers raise nearly anything on bytes that they did not foresee
        said = shorten(str(error) or type(error).__name__, 100)
        raise MessageError(f"compressed image cannot be decoded: {said}; send a whole JPEG or PNG") from None


def _jpeg(data: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    """Return a whole colour JPEG by OpenCV, which is twice as fast as Pillow; None leaves it to Pillow.

    OpenCV fills up a picture that is cut short and says nothing, so one that lacks the end mark is not its business.
    """
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):  # some cameras fill up with zeros
        return None
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None or found.shape[:2] != (height, width):
        return None
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]  # OpenCV before 4.11 gives no RGB itself


def _refuse_depth(picture: ImageFile) -> None:
    """Refuse what Pillow would turn into 8-bit RGB by clipping, dropping bits or guessing: no camera image."""
    # The mode of the pixels as they are stored: of 16-bit colour, Pillow's own mode says RGB.
    stored = str(picture.tile[0].args if picture.format == "PNG" and picture.tile else picture.mode)
    if picture.mode not in EIGHT_BIT or ";16" in stored:
        wrong = stored if picture.mode in EIGHT_BIT else picture.mode
        raise MessageError(f"{picture.format} of mode {wrong}; publish 8-bit grey or colour ({', '.join(EIGHT_BIT)})")


def array_to_compressed(frame: NDArray[np.uint8], stamp_ns: int, quality: int = 90) -> CompressedImage:
    """Turn (H, W, 3) RGB into a JPEG."""
    buffer = io.BytesIO()
    Pillow.fromarray(frame).save(buffer, "JPEG", quality=quality)
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.stamp = to_time(stamp_ns)
    data = array.array("B")
    data.frombytes(buffer.getvalue())
    message.data = data
    return message
