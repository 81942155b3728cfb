"""Training crops: photographs cut, flipped and rotated at random, some of them mixed with noise.

Crop i of step t depends on (seed, t, i) alone, so a resumed run, or one with other workers, has the same crops.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ncsr.config import FrozenModel
from ncsr.errors import InputError
from ncsr.ops.transfer import to_device

CROP, NOISE = (), (1,)
"""Purposes of random streams. NumPy appends them, as spawn keys, to the four words that seed, step and index take."""

_DRAWS = 100  # photographs in a row that cannot be read: then it is no single bad file
_GRAINS = (1, 2, 4, 8)  # sides, in pixels, of the squares of one colour that make up the noise mixed into crops


class CropSource(Protocol):
    """A photograph to cut crops from, uint8 of shape (3, H, W): a tensor, or an object that gives one when sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __getitem__(self, window: tuple[slice, slice, slice], /) -> Tensor: ...


class CropSources(Protocol):
    """Photographs by number: a list of tensors, or `ncsr.data.photos.Photos`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> CropSource: ...


class CropSettings(FrozenModel):
    """What a training example is made of; with its step, its index in the step and the scale, this decides all of it.

    Noise is in units of the image range [0, 1].
    """

    seed: int = Field(0, ge=0, lt=2**63)
    """The seed of all random streams."""
    crop: int = Field(160, ge=8, lt=2**16)
    """P: the side of the square HR crops, in pixels."""
    rotations: bool = True
    """Rotate crops by multiples of 90 degrees (paper, section 4.2); without, they are only flipped (published code)."""
    noise_mix_probability: float = Field(0.0, ge=0, le=1)
    """Probability that a crop is mixed with coarse or fine noise, which keeps images unlike photographs in bounds."""
    noise: float = Field(0.0, ge=0, allow_inf_nan=False)
    """M: the largest standard deviation of the training noise v (paper, section 3.3); 0 trains without."""
    dequantise: bool = False
    """Add uniform noise of width 1/32 and mean 0 to HR crops, as SRFlow's paper asks for."""


def random_stream(seed: int, step: int, index: int, purpose: tuple[int, ...] = CROP) -> np.random.Generator:
    """The random numbers of one training example, the same wherever and whenever it is made.

    Streams of different purposes are different for any seeds, steps (below 2^32) and indices.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, step, index), spawn_key=purpose)))


def random_crop(photos: CropSources, settings: CropSettings, stream: np.random.Generator) -> Tensor:
    """A random crop of a random photograph, flipped and rotated at random (paper, section 4.2).

    If a photograph turns out broken, another one is drawn from the same stream: a bad file ends no run, and the crop
    still depends on nothing but the stream and the files.

    Args:
        photos: with sides of at least P.
        settings: P, and whether the crop is rotated and mixed with noise.
        stream: the random numbers.

    Returns:
        (3, P, P), uint8.

    Raises:
        InputError: a hundred photographs in a row are broken.
    """
    for _ in range(_DRAWS):
        try:
            photo = photos[int(stream.integers(len(photos)))]
            top, left = (int(stream.integers(side - settings.crop + 1)) for side in photo.shape[1:])
            crop = photo[:, top : top + settings.crop, left : left + settings.crop]
            break
        except InputError as error:
            reason = error
    else:
        raise InputError(f"{_DRAWS} photographs in a row cannot be read: check the disk; the last: {reason}")
    if stream.integers(2):
        crop = crop.flip(-1)
    if settings.rotations:
        crop = torch.rot90(crop, int(stream.integers(4)), (-2, -1))
    probability = settings.noise_mix_probability
    return mix_noise(crop, stream) if probability and stream.random() < probability else crop


def mix_noise(crop: Tensor, stream: np.random.Generator) -> Tensor:
    """Interpolate at random between a crop and white noise of full contrast, whose grains are 1, 2, 4 or 8 pixels wide.

    A flow that was trained on photographs alone may answer an image unlike them with numbers beyond all bounds.
    Reduced, coarse grains are white noise, which of all LR images is the least like a photograph.

    Args:
        crop: (3, P, P), uint8.
        stream: the random numbers.

    Returns:
        (3, P, P), uint8.
    """
    size, grain, strength = crop.shape[-1], int(stream.choice(_GRAINS)), stream.random()
    cells = stream.integers(0, 256, (3, -(-size // grain), -(-size // grain)), np.uint8)
    noise = to_device(torch.from_numpy(cells), crop.device).repeat_interleave(grain, 1).repeat_interleave(grain, 2)
    return torch.lerp(crop.float(), noise[:, :size, :size].float(), strength).round().to(torch.uint8)
