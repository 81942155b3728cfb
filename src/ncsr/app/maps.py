"""Maps for overlays of the page: where samples differ or agree, what is invented, what is unlikely."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncsr.sampling.uncertainty import agreement

FULL, AGREE_WITHIN = 32, 8  # grey levels of 255: where a map ends, and how near samples must be to agree
_STOPS = np.array([[20, 8, 45], [110, 25, 110], [215, 60, 75], [250, 150, 40], [252, 250, 165]], np.float32)


def deviation(samples: Tensor) -> Tensor:
    """The standard deviation of samples (n, 3, H, W) uint8, averaged over colours, (H, W): 1 is 32 grey levels."""
    return samples.float().std(0, correction=0).mean(0) / FULL


def disagreement(samples: Tensor) -> Tensor:
    """The share of samples (n, 3, H, W) uint8 that are further than 8 grey levels from their median, (H, W)."""
    return 1 - agreement(samples, AGREE_WITHIN)


def invented(pixels: NDArray[np.uint8], smooth: NDArray[np.uint8]) -> Tensor:
    """How far a picture (H, W, 3) is from that of temperature 0, (H, W): 1 is 32 grey levels."""
    difference = np.abs(pixels.astype(np.float32) - smooth).mean(2)
    return torch.from_numpy(difference) / FULL


def unlikely(density: Tensor) -> Tensor:
    """Log-densities (h, w) as shares, (h, w): 0 for the most probable half of the places, 1 for the least probable."""
    flat = density.flatten()
    ranks = flat.argsort().argsort().float() / max(1, len(flat) - 1)
    return (1 - 2 * ranks).clamp_min(0).view(density.shape)


def heat(values: Tensor) -> NDArray[np.uint8]:
    """Values (H, W), 0 to 1, as (H, W, 4) colours that are the more opaque the higher the value."""
    share = values.clamp(0, 1).cpu().numpy().astype(np.float32)
    place = share * (len(_STOPS) - 1)
    colours = np.stack([np.interp(place, np.arange(len(_STOPS)), stop) for stop in _STOPS.T], -1)
    alpha = 255 * share[..., None] ** 0.6
    map_: NDArray[np.uint8] = np.concatenate((colours, alpha), -1).round().astype(np.uint8)
    return map_
