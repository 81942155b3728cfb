"""Per-pixel statistics of samples: mean, standard deviation, quantiles, agreement."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from numbers import Real

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsr.errors import InputError, brief
from ncsr.images.origin import Provenance
from ncsr.images.pil import recorded
from ncsr.images.sheet import deviation_map


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty:
    """Per-pixel statistics of n samples.

    Samples that agree can still be wrong together: of a model that is not calibrated, this is a lower bound.

    Attributes:
        mean: (..., C, H, W) over the samples, in [0, 1].
        std: (..., C, H, W), their standard deviation (the mean square's root, over n), in [0, 1].
        samples: (n, ..., C, H, W) uint8, on the CPU. Quantiles and agreement, which need all samples at once, are of
            these: a byte for each number takes less than a histogram does up to 256 samples.
        origin: what a picture of it says of its origin.
    """

    mean: Tensor
    std: Tensor
    samples: Tensor
    origin: Provenance

    def quantile(self, q: float) -> Tensor:
        """The value that a share q of the samples does not exceed, (..., C, H, W) in [0, 1], of 8-bit samples.

        Between two samples it is interpolated, as `torch.quantile` does.

        Raises:
            InputError: q outside [0, 1].
        """
        if not isinstance(q, Real) or not 0 <= q <= 1:
            raise InputError(f"a quantile is that of one share from 0 to 1, got {brief(q)}")
        return torch.from_numpy(np.quantile(self.samples.numpy(), q, axis=0)).float() / 255

    def agreement(self, levels: float = 8) -> Tensor:
        """The share of the samples within so many grey levels (of 255) of the median, in all colours, (..., H, W).

        Raises:
            InputError: the levels are no number.
        """
        if not isinstance(levels, Real):
            raise InputError(f"samples agree within a number of grey levels, got {brief(levels)}")
        return agreement(self.samples, levels)

    def picture(self) -> Image.Image:
        """The standard deviation, averaged over colours, as `ncsr upscale --std` shows it; of several images, below.

        Its files say where it comes from.
        """
        return recorded(deviation_map(self.std.mean(-3).flatten(0, -2)), self.origin.record())

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks (IPython's display protocol)."""
        file = io.BytesIO()
        self.picture().save(file, "PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        n, *batch, _, height, width = self.samples.shape
        of = f" of each of {batch[0]} images" if batch else ""
        mean = 255 * self.std.mean().item()
        return f"Uncertainty({n} samples{of} of {width} x {height}, deviation {mean:.2f} grey levels on average)"


def agreement(samples: Tensor, levels: float) -> Tensor:
    """The share of samples (n, ..., C, H, W) uint8 within so many levels of the median, in all colours, (..., H, W)."""
    median = torch.from_numpy(np.median(samples.numpy(), axis=0)).float()
    counts = [(sample - median).abs().amax(-3) <= levels for sample in samples]
    return torch.stack(counts).float().mean(0)


def measure_uncertainty(samples: Iterable[Tensor], origin: Provenance | None = None) -> Uncertainty:
    """Per-pixel statistics of samples (..., C, H, W) in [0, 1], taken one at a time, by Welford's algorithm (1962).

    Only their 8-bit values are kept. `origin` is theirs, if it is known.
    """
    kept: list[Tensor] = []
    for sample in samples:
        if not kept:
            mean, squares = torch.zeros_like(sample), torch.zeros_like(sample)
        kept.append((sample * 255).round().byte().cpu())
        change = sample - mean
        mean += change / len(kept)
        squares += change * (sample - mean)
    std = (squares / len(kept)).sqrt()
    told = {"picture": "standard deviation", "samples": [*range(len(kept))]}
    origin = (origin or Provenance(ncsr=version("ncsr"), picture="standard deviation")).model_copy(update=told)
    return Uncertainty(mean.cpu(), std.cpu(), torch.stack(kept), origin)
