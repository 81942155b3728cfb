"""Measures of single images and of sets of samples, as plain functions on tensors.

Images are (..., 3, H, W) RGB, floating point in [0, 1] or uint8; samples have one more axis in front,
(n, ..., 3, H, W), as `space.sample` returns them. Gray photographs are measured as RGB with three equal channels.
`luma`, `psnr`, `ssim`, `LPIPS` and `diversity` take their input as it is; every other measure first rounds images to 8
bits, as if they had been saved. Nothing here keeps more than one image: what is measured over a set of photographs is a
mean of per-image values, or is gathered piece by piece (`TexturePatches`, `smooth_block_deviations`).

`ncsr.metrics.streaming` has the same measures as `torchmetrics.Metric` classes. SSIM and that module need torchmetrics,
the `eval` extra; nothing else here does.
"""

from ncsr.metrics.calibration import coverage, crps, pit_histogram, spread_and_error
from ncsr.metrics.consistency import MeanAndWorst, lr_psnr, mean_and_worst, ntire_lr_psnr
from ncsr.metrics.diversity import diversity, diversity_squared_error, pixel_deviation
from ncsr.metrics.fidelity import luma, luma_psnr, psnr, rgb_psnr
from ncsr.metrics.grain import Grain, grain, smooth_block_deviations, smooth_block_grain
from ncsr.metrics.likelihood import dequantised, dequantised_bits_per_dim
from ncsr.metrics.lpips import LPIPS, LPIPSReference, LPIPSScores, ntire_lpips
from ncsr.metrics.pixels import crop_to_multiple, eight_bit
from ncsr.metrics.ssim import luma_ssim, rgb_ssim, ssim
from ncsr.metrics.texture import TexturePatches, texture_distance

__all__ = [
    "LPIPS",
    "Grain",
    "LPIPSReference",
    "LPIPSScores",
    "MeanAndWorst",
    "TexturePatches",
    "coverage",
    "crop_to_multiple",
    "crps",
    "dequantised",
    "dequantised_bits_per_dim",
    "diversity",
    "diversity_squared_error",
    "eight_bit",
    "grain",
    "lr_psnr",
    "luma",
    "luma_psnr",
    "luma_ssim",
    "mean_and_worst",
    "ntire_lpips",
    "ntire_lr_psnr",
    "pit_histogram",
    "pixel_deviation",
    "psnr",
    "rgb_psnr",
    "rgb_ssim",
    "smooth_block_deviations",
    "smooth_block_grain",
    "spread_and_error",
    "ssim",
    "texture_distance",
]
