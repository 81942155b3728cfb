"""Spread of an image's samples: standard deviation, and the diversity score of NTIRE 2021."""

from __future__ import annotations

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.metrics.pixels import check_crop, check_samples, crop_to_multiple, eight_bit


def pixel_deviation(samples: Tensor) -> Tensor:
    """Mean over pixels and channels of the standard deviation over the samples, in grey levels of 255.

    The deviation has n - 1 in its denominator, so that its expected square does not depend on the number of samples.

    Args:
        samples: (n, ..., 3, H, W) with n >= 2, floating point in [0, 1] or uint8; rounded to 8 bits.

    Returns:
        (...,) per image, float64.

    Raises:
        InputError: fewer than two samples.
    """
    if samples.ndim < 4 or len(samples) < 2:
        raise InputError(f"a deviation needs at least two samples, (n, ..., 3, H, W), got shape {tuple(samples.shape)}")
    return eight_bit(samples).float().std(0).mean((-3, -2, -1), dtype=torch.float64)


def diversity(score_maps: Tensor) -> Tensor:
    """Diversity of NTIRE 2021: (best image mean - mean of pixelwise best) / best image mean * 100.

    The best image mean is the least mean score that one sample reaches; the pixelwise best may choose another sample at
    every pixel. 0 means that all samples err alike. The challenge's score maps are those of spatial LPIPS.

    Args:
        score_maps: (n, ..., H, W), error per pixel against the photograph, 0 or more, for n samples of one image.

    Returns:
        (...,) per image in [0, 100], float64; 0 where one sample has no error at all.

    Raises:
        InputError: no samples, or maps without pixels.
    """
    if score_maps.ndim < 3 or not score_maps.numel():
        raise InputError(
            f"diversity needs score maps (n, ..., H, W) of at least one sample, got {tuple(score_maps.shape)}"
        )
    best_image = score_maps.mean((-2, -1), dtype=torch.float64).amin(0)
    best_pixels = score_maps.amin(0).mean((-2, -1), dtype=torch.float64)
    return 100 * (best_image - best_pixels) / best_image.clamp_min(torch.finfo(torch.float64).tiny)


def diversity_squared_error(samples: Tensor, hr: Tensor) -> Tensor:
    """Diversity (`diversity`) with the squared error, averaged over channels, as the per-pixel score.

    As in NTIRE 2021, samples and photograph are cropped to multiples of 8 and are 8-bit images. Needs no network
    weights; its figures are not comparable with the challenge's, which are on LPIPS.

    Args:
        samples: (n, ..., 3, H, W), floating point in [0, 1] or uint8; rounded to 8 bits.
        hr: (..., 3, H, W), the photograph; rounded to 8 bits.

    Returns:
        (...,) per image in [0, 100], float64.

    Raises:
        InputError: the shapes do not belong together; a side below 8 pixels.
    """
    check_samples(samples, hr)
    check_crop(hr)
    samples, hr = crop_to_multiple(samples, 8), eight_bit(crop_to_multiple(hr, 8)).float()
    return diversity(torch.stack([(eight_bit(sample) - hr).square().mean(-3) for sample in samples]))
