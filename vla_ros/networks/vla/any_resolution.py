"""How many visual tokens an image of any size becomes: grids of tiles, the view of the whole, padding left out.

LLaVA-1.5-HD (Liu et al., arXiv 2310.03744, section 3.4), LLaVA-NeXT and LLaVA-OneVision (Li et al., arXiv 2408.03326).
The packing itself is the library's; these numbers say how many placeholders a prompt needs. Sizes are (height, width).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import LlavaNextConfig

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TileLayout:
    """tile: side of a tile in pixels; patch: of a patch; canvases: what the image may be fitted to.

    most_tiles: an image of more tokens than this many tiles is interpolated down; 0 for never.
    """

    tile: int
    patch: int
    canvases: tuple[Size, ...]
    most_tiles: int = 0

    @property
    def side(self) -> int:
        """Tokens along a tile."""
        return self.tile // self.patch


def grids(tile: int, *shapes: Size) -> tuple[Size, ...]:
    """Canvases of (rows, columns) tiles."""
    return tuple((rows * tile, columns * tile) for rows, columns in shapes)


# The order decides ties.
NEXT = TileLayout(336, 14, grids(336, (1, 2), (2, 1), (2, 2), (3, 1), (1, 3)))
ONEVISION = TileLayout(384, 14, grids(384, *((i, j) for i in range(1, 7) for j in range(1, 7))), most_tiles=9)
# Every grid of at most six tiles. No weights were released; the tile is that of CLIP-L/14 at 224.
HD = TileLayout(224, 14, grids(224, *((i, j) for i in range(1, 7) for j in range(1, 7) if i * j <= 6)))


def layout_of(config: Any) -> TileLayout:
    """The layout that a config of LLaVA-NeXT's or LLaVA-OneVision's class describes."""
    vision = config.vision_config
    canvases = tuple((int(height), int(width)) for height, width in config.image_grid_pinpoints)
    most = str(getattr(config, "vision_aspect_ratio", "")).removeprefix("anyres_max_")
    return TileLayout(int(vision.image_size), int(vision.patch_size), canvases, int(most) if most.isdigit() else 0)


def best_canvas(size: Size, canvases: tuple[Size, ...]) -> Size:
    """The canvas that keeps most of the image's pixels, and wastes least of its own; the first of equals."""
    height, width = size

    def merit(canvas: Size) -> tuple[int, int]:
        scale = min(canvas[1] / width, canvas[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - canvas[0] * canvas[1]

    return max(canvases, key=merit)


def unpadded(size: Size, grid: Size) -> Size:
    """The part of a (rows, columns) grid of tokens that an image covers which was fitted into its middle."""
    (height, width), (rows, columns) = size, grid
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        return rows - 2 * ((rows - kept) // 2), columns
    kept = int(round(width * (rows / height), 7))
    return rows, columns - 2 * ((columns - kept) // 2)


def token_grid(size: Size, layout: TileLayout) -> Size:
    """(rows, columns) of the tokens of the tiles, without row ends."""
    canvas = best_canvas(size, layout.canvases)
    rows, columns = unpadded(size, (canvas[0] // layout.tile * layout.side, canvas[1] // layout.tile * layout.side))
    if layout.most_tiles:
        ratio = (rows * columns / (layout.most_tiles * layout.side**2)) ** 0.5
        if ratio > 1.1:
            return int(rows // ratio), int(columns // ratio)
    return rows, columns


def image_tokens(size: Size, layout: TileLayout) -> int:
    """Tokens of one image: the view of the whole, then the tiles with a token at the end of each row."""
    rows, columns = token_grid(size, layout)
    return layout.side**2 + rows * (columns + 1)


def several_image_tokens(count: int, layout: TileLayout) -> int:
    """Tokens of several images, each seen as a whole and with a newline."""
    return count * (layout.side**2 + 1)


def video_tokens(frames: int, layout: TileLayout) -> int:
    """Tokens of a video: each frame at half the resolution (rounded up), and one newline at its end."""
    return frames * ((layout.side + 1) // 2) ** 2 + 1


def hd_config(text: Any, vision: Any, **rest: Any) -> LlavaNextConfig:
    """LLaVA-1.5-HD, which no library has: LLaVA-NeXT's path over grids of 224-pixel tiles (16x16 tokens)."""
    side = vision["image_size"] if isinstance(vision, dict) else vision.image_size
    if side != HD.tile:
        raise ValueError(f"vision.image_size must be {HD.tile} for LLaVA-1.5-HD, got {side}")
    canvases = [list(canvas) for canvas in HD.canvases]
    return LlavaNextConfig(vision_config=vision, text_config=text, image_grid_pinpoints=canvases, **rest)
