"""Training crops: photographs cut, flipped and rotated at random, and reduced to their LR images.

Crop i of step t depends on (seed, t, i) alone, so a resumed run, or one with other workers, sees the same crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.images import find_photos, read_photo
from ncsr.resize import imresize


class Batch(NamedTuple):
    """Aligned crops: hr (B, 3, P, P) and lr (B, 3, P/s, P/s), float32 in [0, 1], both on the 8-bit grid."""

    hr: Tensor
    lr: Tensor


def random_stream(seed: int, step: int, index: int) -> np.random.Generator:
    """The random numbers of one training example, the same wherever and whenever it is made."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, step, index))))


def load_photos(folders: Sequence[Path], smallest: int) -> tuple[list[Tensor], list[str]]:
    """Decode every photograph under `folders` (recursively) as uint8, (3, H, W) each.

    Args:
        folders: where to look.
        smallest: photographs with a side shorter than this are left out.

    Returns:
        The photographs, and one sentence for each file that was left out.

    Raises:
        InputError: a folder does not exist, or nothing usable is in them.
    """
    photos: list[Tensor] = []
    left_out: list[str] = []
    for path in [path for folder in folders for path in find_photos(folder, recursive=True)]:
        try:
            rgb = read_photo(path).rgb
        except InputError as error:
            left_out.append(str(error))
            continue
        if min(rgb.shape[-2:]) < smallest:
            left_out.append(f"{path}: {rgb.shape[-1]} x {rgb.shape[-2]} pixels, smaller than the crop of {smallest}")
        else:
            photos.append((rgb * 255).round().to(torch.uint8))
    if not photos:
        where = ", ".join(str(folder) for folder in folders)
        raise InputError(
            f"no photograph of at least {smallest} x {smallest} pixels in {where} ({len(left_out)} left out): "
            "give a folder of larger photographs or a smaller crop"
        )
    return photos, left_out


def random_crop(photos: Sequence[Tensor], size: int, stream: np.random.Generator) -> Tensor:
    """A random (3, size, size) crop of a random photograph, flipped and rotated at random (paper, section 4.2)."""
    photo = photos[int(stream.integers(len(photos)))]
    top = stream.integers(photo.shape[1] - size + 1)
    left = stream.integers(photo.shape[2] - size + 1)
    crop = photo[:, top : top + size, left : left + size]
    if stream.integers(2):
        crop = crop.flip(-1)
    return torch.rot90(crop, int(stream.integers(4)), (-2, -1))


def crop_batch(photos: Sequence[Tensor], *, size: int, scale: int, count: int, seed: int, step: int) -> Batch:
    """The `count` crops of training step `step` and their LR images (reduced, rounded to 8 bits)."""
    hr = torch.stack([random_crop(photos, size, random_stream(seed, step, i)) for i in range(count)])
    return Batch(hr.float() / 255, imresize(hr, 1 / scale).float() / 255)
