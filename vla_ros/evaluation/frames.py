"""Frames as pixels: which region moves, how close a prediction comes to it, and grids for people to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

MOVED = 0.08  # of 1
MOVING_REGION = f"pixels where the true future differs from the current frame by more than {MOVED} of 1 in any channel"
# What `score` sums over the pixels of a frame, and of its moving region; PSNR and SSIM are pooled from these.
SUMS = ("squared", "similar", "pixels", "moving_squared", "moving_similar", "moving_pixels")


def moving(now: NDArray[np.float32], future: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The moving region (N, V, F, H, W), of frames (N, V, H, W, 3) and their futures (N, V, F, H, W, 3) in [0, 1]."""
    changed: NDArray[np.bool_] = (np.abs(future - now[:, :, None]) > MOVED).any(axis=-1)
    return changed


def score(predicted: NDArray[np.float32], true: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, V, 6) `SUMS` over all future frames of a window's camera.

    predicted, true: (N, V, F, H, W, 3) in [0, 1]. mask: (N, V, F, H, W), the moving region. Squared errors are means
    over the colours. Similarity is SSIM with the settings of Wang et al. (2004): Gaussian weights of 1.5 pixels.
    """
    squared = np.square(predicted - true, dtype=np.float64).mean(axis=-1)  # (N, V, F, H, W)
    sums = np.zeros((*mask.shape[:2], len(SUMS)))
    for place in np.ndindex(mask.shape[:3]):
        mean, similar = structural_similarity(  # type: ignore[no-untyped-call]
            predicted[place],
            true[place],
            channel_axis=-1,
            data_range=1.0,
            full=True,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        error, moved = squared[place], mask[place]
        sums[place[:2]] += (
            error.sum(),
            mean * error.size,
            error.size,
            error[moved].sum(),
            similar.mean(axis=-1)[moved].sum(),
            moved.sum(),
        )
    return sums


def frame_figures(sums: NDArray[np.float64]) -> dict[str, float | None]:
    """PSNR [dB] and SSIM, whole and in the moving region, of pooled sums (6,); None where nothing moved."""
    found: dict[str, float | None] = {}
    for region, (squared, similar, pixels) in (("", sums[:3]), ("moving_", sums[3:])):
        found[f"{region}psnr_db"] = round(float(psnr_db(squared, pixels)), 3) if pixels else None
        found[f"{region}ssim"] = round(float(similar / pixels), 4) if pixels else None
    return found


def psnr_db(squared: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of summed squared errors: the mean first, then decibels (of at most 120)."""
    return -10 * np.log10(np.maximum(squared / pixels, 1e-12))
