"""Checks of the arguments of spaces, and their errors."""

from __future__ import annotations

import math
import secrets
import sys
import warnings
from numbers import Integral, Real
from types import FrameType

import numpy as np
from torch import Tensor

from ncsr.errors import InputError, SamplingError, brief
from ncsr.latents import NumberOrMap

ATTEMPTS = 3  # draws of a sample before it is given up as not finite


def check_sampling(n: int, temperature: NumberOrMap, seed: int | None, *, maps: bool = False) -> int:
    """The seed to use, a fresh one for None; InputError for what cannot be sampled.

    Args:
        n: number of samples.
        temperature: one number; with `maps` perhaps one for each pixel, whose shape is not looked at.
        seed: None draws one.
        maps: whether temperatures may be maps.
    """
    if (
        not isinstance(n, Integral)
        or isinstance(n, bool)
        or not isinstance(seed, Real | None)
        or not isinstance(temperature, Real | Tensor | np.ndarray)
    ):
        given = brief((n, temperature, seed))
        raise InputError(f"the number of samples, the temperature and the seed must be numbers, got {given}")
    if np.ndim(temperature) and not maps:
        raise InputError(
            f"one temperature is taken here, got a map {tuple(np.shape(temperature))}: "
            "model.space(lr).sample(temperature=map) takes one for each pixel"
        )
    if n < 1:
        raise InputError(f"the number of samples must be at least 1, got {n}")
    if np.ndim(temperature) == 0 and not 0 <= temperature < math.inf:
        raise InputError(f"the temperature must be a finite number from 0 up, got {temperature}")
    if seed is not None and seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}")
    if seed is not None and seed % 1:
        raise InputError(f"the seed must be a whole number, got {seed}")
    return secrets.randbelow(2**31) if seed is None else int(seed)


def never_finite(sample: int, temperature: NumberOrMap) -> SamplingError:
    """The error for a sample that was not finite in every draw."""
    mapped = np.ndim(temperature) > 0
    remedy = "lower the temperature" if mapped or temperature else "this model cannot enlarge this image; use another"
    told = "these temperatures" if mapped else f"temperature {temperature}"
    return SamplingError(f"sample {sample} was not finite in {ATTEMPTS} draws at {told}: {remedy}")


def check_tensors(*values: object) -> None:
    """Raise InputError unless these are tensors."""
    wrong = [type(value).__name__ for value in values if not isinstance(value, Tensor)]
    if wrong:
        raise InputError(f"images, latents and noise must be tensors, got {wrong[0]}: torch.as_tensor makes one")


def warn_of_range(hr: Tensor) -> None:
    """Warn if images lie far outside [0, 1], the range of densities; samples exceed it a little."""
    low, high = (value.item() for value in hr.detach().aminmax())
    if not -0.5 <= low <= high <= 1.5:
        warnings.warn(
            f"densities are of images in [0, 1], got values from {low:.9g} to {high:.9g}: bring [-1, 1] to "
            "(x + 1) / 2, divide 8-bit images by 255",
            stacklevel=_frames_inside() + 1,
        )


def _frames_inside() -> int:
    """How many frames of ncsr and PyTorch lie between the caller of this and the first one outside them."""
    frame: FrameType | None = sys._getframe(1)
    count = 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("ncsr", "torch"):
        frame, count = frame.f_back, count + 1
    return count


def no_likelihood() -> InputError:
    """The error for what only a flow has."""
    return InputError("an encoder-only model gives one image and no likelihood or latents: use a model with a flow")
