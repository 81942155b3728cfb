"""Training crops: photographs cut, flipped and rotated at random, and reduced to their LR images.

Crop i of step t depends on (seed, t, i) alone, so a resumed run, or one with other workers, sees the same crops.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.ops.resize import imresize

_DRAWS = 100  # photographs in a row that cannot be read: then it is no single bad file
_GRAINS = (1, 2, 4, 8)  # sides of the squares of one colour that strange crops are mixed with, in pixels


class Photograph(Protocol):
    """uint8 of shape (3, H, W): a tensor, or what gives a tensor when it is cut."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __getitem__(self, window: tuple[slice, slice, slice], /) -> Tensor: ...


class Photographs(Protocol):
    """Photographs by number: a list of tensors, or `ncsr.data.photos.Photos`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Photograph: ...


class Crops(NamedTuple):
    """Aligned crops: hr (B, 3, P, P) and lr (B, 3, P/s, P/s), float32 in [0, 1], both on the 8-bit grid."""

    hr: Tensor
    lr: Tensor


def random_stream(seed: int, step: int, index: int) -> np.random.Generator:
    """The random numbers of one training example, the same wherever and whenever it is made."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, step, index))))


def random_crop(photos: Photographs, size: int, stream: np.random.Generator, *, rotations: bool = True) -> Tensor:
    """A random crop of a random photograph, flipped and rotated at random (paper, section 4.2).

    If a photograph turns out broken, another one is drawn from the same stream: a bad file ends no run, and the crop
    still depends on nothing but the stream and the files.

    Args:
        photos: sides of at least `size`.
        size: P.
        stream: the random numbers.
        rotations: by 0, 90, 180 or 270 degrees, as in the paper; without, only flipped, as in the published code.

    Returns:
        (3, P, P), uint8.

    Raises:
        InputError: a hundred photographs in a row are broken.
    """
    for _ in range(_DRAWS):
        try:
            crop = _cut(photos[int(stream.integers(len(photos)))], size, stream)
            break
        except InputError as error:
            reason = error
    else:
        raise InputError(f"{_DRAWS} photographs in a row cannot be read: check the disk; the last: {reason}")
    if stream.integers(2):
        crop = crop.flip(-1)
    return torch.rot90(crop, int(stream.integers(4)), (-2, -1)) if rotations else crop


def crop_batch(
    photos: Photographs,
    *,
    size: int,
    scale: int,
    count: int,
    seed: int,
    step: int,
    first: int = 0,
    rotations: bool = True,
    strange: float = 0.0,
) -> Crops:
    """Crops `first` to `first + count - 1` of training step `step` and their LR images (reduced, rounded to 8 bits).

    A share `strange` of them is mixed with noise (`mix_noise`).
    """
    crops = []
    for i in range(first, first + count):
        stream = random_stream(seed, step, i)
        crop = random_crop(photos, size, stream, rotations=rotations)
        crops.append(mix_noise(crop, stream) if strange and stream.random() < strange else crop)
    hr = torch.stack(crops)
    return Crops(hr.float() / 255, imresize(hr, 1 / scale).float() / 255)


def mix_noise(crop: Tensor, stream: np.random.Generator) -> Tensor:
    """Between a crop and white noise of full contrast, at random; a grain of the noise is 1, 2, 4 or 8 pixels wide.

    A flow that has seen photographs alone may answer an image like none of them with numbers beyond all bounds.
    Reduced, coarse grains are white noise, the farthest from photographs that an LR image gets.

    Args:
        crop: (3, P, P), uint8.
        stream: the random numbers.

    Returns:
        (3, P, P), uint8.
    """
    size, grain, strength = crop.shape[-1], int(stream.choice(_GRAINS)), stream.random()
    cells = stream.integers(0, 256, (3, -(-size // grain), -(-size // grain)), np.uint8)
    noise = torch.from_numpy(cells).repeat_interleave(grain, 1).repeat_interleave(grain, 2)
    return torch.lerp(crop.float(), noise[:, :size, :size].float(), strength).round().to(torch.uint8)


def _cut(photo: Photograph, size: int, stream: np.random.Generator) -> Tensor:
    top = int(stream.integers(photo.shape[1] - size + 1))
    left = int(stream.integers(photo.shape[2] - size + 1))
    return photo[:, top : top + size, left : left + size]
