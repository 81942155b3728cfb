"""Calibration: whether the spread of an image's samples says how far the photograph may be from them.

All of it looks at single values, those of pixels and channels, in grey levels of 255. Samples are calibrated when the
photograph could be one of them: then it falls into any of the gaps between n sorted samples equally often, and the
expected square of its distance from their mean is (n + 1) / n times their expected variance.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.metrics.pixels import check_samples, eight_bit

PIT_BINS = 20  # of the probability integral transform: 5 % each
DEVIATION_BINS = 64  # of a grey level of deviation each; the last takes all above
_VALUES = 2**18  # values of a chunk


def crps(samples: Tensor, hr: Tensor) -> Tensor:
    """Continuous ranked probability score, averaged over values, in grey levels; lower is better.

    CRPS = E|X - x| - E|X - X'| / 2 (Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation",
    2007, equation 21), by the estimator that is fair to any number of samples (Ferro, 2014): both means over the
    samples, the second over pairs of different ones. Of one image it is the mean absolute error.

    Args:
        samples: (n, ..., 3, H, W), floating point in [0, 1] or uint8; rounded to 8 bits.
        hr: (..., 3, H, W), the photograph; rounded to 8 bits.

    Returns:
        (...,) per image, float64.

    Raises:
        InputError: the shapes do not belong together.
    """
    check_samples(samples, hr)
    n, scores = len(samples), []
    weights = torch.arange(1 - n, n, 2, device=samples.device)[:, None] / max(n * (n - 1), 1)
    for image, photograph in _images(samples, hr):
        total = torch.zeros((), dtype=torch.float64, device="cpu")
        for x, y in _parts(image, photograph):
            spread = (x.sort(0).values * weights).sum(0)  # the mean over all pairs of |x_i - x_j| / 2
            total += ((x - y).abs().mean(0) - spread).sum(dtype=torch.float64).cpu()
        scores.append(total / photograph.numel())
    return torch.stack(scores).reshape(hr.shape[:-3])


def pit_histogram(samples: Tensor, hr: Tensor) -> Tensor:
    """How often the photograph falls into each twentieth of its samples' distribution: flat if they are calibrated.

    The rank of a value among n samples (Hamill, "Interpretation of rank histograms", 2001) is one of n + 1 equal parts
    of the distribution, over which it is spread evenly; for equal values every rank they could have counts equally. So
    nothing is known about the distribution within the parts beyond the extreme samples, 1 / (n + 1) each.

    Args:
        samples: (n, ..., 3, H, W), n at least 2, as of `crps`.
        hr: (..., 3, H, W), as of `crps`.

    Returns:
        (20,) counts over all images, float64.

    Raises:
        InputError: fewer than two samples; the shapes do not belong together.
    """
    _check_several(samples, hr)
    n = len(samples)
    counts = torch.zeros((n + 1) ** 2, dtype=torch.float64, device="cpu")
    for image, photograph in _images(samples, hr):
        for x, y in _parts(image, photograph):
            below, up_to = (x < y).sum(0), (x <= y).sum(0)
            counts += torch.bincount(below * (n + 1) + up_to, minlength=len(counts)).cpu()
    low = torch.arange(n + 1, dtype=torch.float64, device="cpu")[:, None, None] / (n + 1)
    high = torch.arange(1, n + 2, dtype=torch.float64, device="cpu")[None, :, None] / (n + 1)
    edges = torch.arange(PIT_BINS + 1, dtype=torch.float64, device="cpu") / PIT_BINS
    shared = (torch.minimum(high, edges[1:]) - torch.maximum(low, edges[:-1])).clamp_min(0)
    return counts @ (shared / (high - low).clamp_min(0.5 / (n + 1))).reshape(-1, PIT_BINS)


def coverage(pit: Tensor) -> Tensor:
    """The share of values inside the central intervals of 10, 20, ... 100 %, (10,), from a `pit_histogram`."""
    half = PIT_BINS // 2
    return (pit[half:] + pit[:half].flip(0)).cumsum(0) / pit.sum()


def spread_and_error(samples: Tensor, hr: Tensor) -> Tensor:
    """Variance of the samples against the squared error of their mean, by the samples' deviation in grey levels.

    Equal in expectation if the samples are calibrated, the variance (n - 1 in its denominator) times (n + 1) / n:
    Fortin, Abaza, Anctil and Turcotte, "Why should ensemble spread match the RMSE of the ensemble mean?", 2014,
    equation 15. Bins go by an estimate: where few samples deviate by chance more than others, the error does not, so
    that with n samples even perfect ones lie flatter than the diagonal within 1 / sqrt(2 (n - 1)) of their deviation.

    Args:
        samples: (n, ..., 3, H, W), n at least 2, as of `crps`.
        hr: (..., 3, H, W), as of `crps`.

    Returns:
        (64, 3) over all images, float64: how many values deviate by so many grey levels, and the sums of their
        (n + 1) / n times variance, and of their squared error.

    Raises:
        InputError: fewer than two samples; the shapes do not belong together.
    """
    _check_several(samples, hr)
    n, table = len(samples), torch.zeros(DEVIATION_BINS, 3, dtype=torch.float64, device="cpu")
    for image, photograph in _images(samples, hr):
        for x, y in _parts(image, photograph):
            variance, mean = torch.var_mean(x, 0)
            bins = variance.sqrt().long().clamp_max(DEVIATION_BINS - 1)
            values = torch.stack([torch.ones_like(y), variance * (n + 1) / n, (mean - y).square()], 1)
            table.index_add_(0, bins.cpu(), values.double().cpu())
    return table


def _check_several(samples: Tensor, hr: Tensor) -> None:
    check_samples(samples, hr)
    if len(samples) < 2:
        raise InputError("calibration is measured on at least two samples of a photograph, got 1")


def _images(samples: Tensor, hr: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The samples (n, values) and the photograph (values,) of each image, as 8-bit levels."""
    photographs = eight_bit(hr).reshape(-1, hr.shape[-3:].numel())
    stored = eight_bit(samples).reshape(len(samples), *photographs.shape)
    for i, photograph in enumerate(photographs):
        yield stored[:, i], photograph


def _parts(image: Tensor, photograph: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same in chunks of at most `_VALUES` values, float32."""
    for start in range(0, len(photograph), _VALUES):
        yield image[:, start : start + _VALUES].float(), photograph[start : start + _VALUES].float()
