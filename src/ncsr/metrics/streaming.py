"""The measures as `torchmetrics.Metric` classes, for anybody's training or evaluation loop.

Every class but `BitsPerDim` is updated with the samples of one or more photographs, and computes its figure over all:

    measures = all_measures(scale=4)
    for hr, lr in photographs:                                          # (B, 3, s h, s w) and (B, 3, h, w)
        measures.update(model.space(lr).sample(10), hr, lr)             # samples are (10, B, 3, s h, s w)
    measures.compute()                                                  # {"luma_psnr": ..., "lpips": ..., ...}

If one measure refuses an update, no measure of `all_measures` counts it. No state grows with the number of images.
Sums, counts and tables of patches are merged over processes by torchmetrics. Figures do not depend on how many images
an update has.

`ncsr evaluate` uses the same measures: `image_measures`, `set_measures` and `NtireLPIPS`, with --calibration also
`CRPS` and `Calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ncsr.errors import InputError, needs_extra
from ncsr.metrics.calibration import DEVIATION_BINS, PIT_BINS, coverage, crps, pit_histogram, spread_and_error
from ncsr.metrics.consistency import lr_psnr, ntire_lr_psnr
from ncsr.metrics.diversity import diversity, diversity_squared_error, pixel_deviation
from ncsr.metrics.fidelity import luma_psnr, rgb_psnr
from ncsr.metrics.grain import smooth_block_deviations
from ncsr.metrics.likelihood import dequantised_bits_per_dim
from ncsr.metrics.lpips import LPIPS, LPIPSScores, ntire_lpips
from ncsr.metrics.pixels import check_samples
from ncsr.metrics.ssim import luma_ssim, rgb_ssim
from ncsr.metrics.texture import empty_table, first_patches, has_patches, offer, table_patches, texture_distance

with needs_extra("eval", "ncsr.metrics.streaming needs torchmetrics", "torchmetrics"):
    from torchmetrics import Metric, MetricCollection

if TYPE_CHECKING:
    from ncsr.space.base import Space

__all__ = [
    "CRPS",
    "LRPSNR",
    "RGBPSNR",
    "RGBSSIM",
    "BitsPerDim",
    "Calibration",
    "ImageMeans",
    "LumaPSNR",
    "LumaSSIM",
    "NtireLPIPS",
    "NtireLRPSNR",
    "PixelDeviation",
    "SmoothBlockGrain",
    "SquaredErrorDiversity",
    "TextureDistance",
    "all_measures",
]


def all_measures(scale: int, lpips: LPIPS | None = None, truncate: bool = False) -> MetricCollection:
    """Every measure of samples, as one collection; its keys are the names that reports use.

    Args:
        scale: 4 or 8.
        lpips: None takes the bundled weights.
        truncate: save samples by truncation for LR-PSNR, as the published references do.
    """
    metrics = [*image_measures(scale, truncate), *set_measures().values(), NtireLPIPS(lpips)]
    return _AllOrNone(metrics, compute_groups=False)


class _AllOrNone(MetricCollection):
    """A collection in which photographs that one measure refuses are counted by none."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As `MetricCollection.update`."""
        with self._all_or_none():
            super().update(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As `MetricCollection.forward`."""
        with self._all_or_none():
            values: dict[str, Any] = super().forward(*args, **kwargs)
        return values

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        states = [
            (metric, name, getattr(metric, name).clone()) for metric in self.values() for name in metric.metric_state
        ]
        others = [(metric, {**vars(metric)}) for metric in self.values()]
        try:
            yield
        except BaseException:
            for metric, attributes in others:
                vars(metric).update(attributes)
            for metric, name, state in states:  # updates write into them
                setattr(metric, name, state)
            raise


def image_measures(scale: int, truncate: bool = False) -> list[ImageMeans]:
    """The measures of single photographs that need no network; the arguments are those of `all_measures`."""
    return [
        LumaPSNR(scale),
        RGBPSNR(scale),
        LumaSSIM(scale),
        RGBSSIM(scale),
        LRPSNR(truncate),
        NtireLRPSNR(scale, truncate),
        PixelDeviation(),
        SquaredErrorDiversity(),
    ]


def set_measures(**kwargs: Any) -> MetricCollection:
    """The measures of a set of photographs as a whole; the arguments are those of every `torchmetrics.Metric`."""
    texture, grain = TextureDistance(**kwargs), SmoothBlockGrain(**kwargs)
    return MetricCollection({"texture": texture, "grain": grain}, compute_groups=False)


class _Measure(Metric):
    full_state_update = False
    is_differentiable = False


class ImageMeans(_Measure):
    """Means over images of per-image figures, every image counting the same.

    A subclass names its figures and measures them. State names differ from class to class, because a MetricCollection
    merges metrics whose states have equal names and values.
    """

    figures: tuple[str, ...]
    of_spread = False
    """Whether it measures how far several samples of a photograph differ, so that one sample has no figure."""
    images: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.figures:
            self.add_state(f"{name}_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        """Every figure of every image, (...,) each, in the order of `figures`."""
        raise NotImplementedError

    def measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None = None) -> dict[str, Tensor]:
        """Every figure of every image, (...,) each; the arguments are those of `update`, and nothing is kept."""
        return dict(zip(self.figures, self._measure(samples, hr, lr), strict=True))

    def update(self, samples: Tensor, hr: Tensor, lr: Tensor | None = None) -> None:
        """Measure samples (n, ..., 3, H, W) of photographs (..., 3, H, W), whose LR images are needed for LR-PSNR."""
        self._add(*self._measure(samples, hr, lr))

    def compute(self) -> dict[str, Tensor]:
        """The figures' means over all images."""
        return {name: getattr(self, f"{name}_sum") / self.images for name in self.figures}

    def _add(self, *values: Tensor) -> None:
        for name, value in zip(self.figures, values, strict=True):
            getattr(self, f"{name}_sum").add_(value.sum(dtype=torch.float64).to(self.device))
        self.images.add_(values[0].numel())


class _Fidelity(ImageMeans):
    """A measure between a sample and the photograph, with `scale` pixels shaved, as a mean over samples and images."""

    higher_is_better = True
    function: Callable[[Tensor, Tensor, int], Tensor]

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        check_samples(samples, hr)
        return (self.function(samples, hr, self.scale).mean(0),)


class LumaPSNR(_Fidelity):
    """PSNR of tables, dB: `luma_psnr`."""

    figures, function = ("luma_psnr",), staticmethod(luma_psnr)


class RGBPSNR(_Fidelity):
    """PSNR over RGB, dB: `rgb_psnr`."""

    figures, function = ("rgb_psnr",), staticmethod(rgb_psnr)


class LumaSSIM(_Fidelity):
    """SSIM of tables: `luma_ssim`."""

    figures, function = ("luma_ssim",), staticmethod(luma_ssim)


class RGBSSIM(_Fidelity):
    """SSIM over RGB: `rgb_ssim`."""

    figures, function = ("rgb_ssim",), staticmethod(rgb_ssim)


class LRPSNR(ImageMeans):
    """LR-PSNR in dB against the LR images: the mean over all samples, and the mean of each image's worst sample."""

    figures = ("lr_psnr_mean", "lr_psnr_worst")
    higher_is_better = True

    def __init__(self, truncate: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.truncate = truncate

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        if lr is None:
            raise InputError("LR-PSNR needs the LR images: update(samples, hr, lr)")
        values = lr_psnr(samples, lr, self.truncate)
        return values.mean(0), values.amin(0)


class NtireLRPSNR(LRPSNR):
    """LR-PSNR as NTIRE 2021 has it, against the reduced, cropped photograph, dB."""

    figures = ("ntire_lr_psnr_mean", "ntire_lr_psnr_worst")

    def __init__(self, scale: int, truncate: bool = False, **kwargs: Any) -> None:
        super().__init__(truncate, **kwargs)
        self.scale = scale

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        values = ntire_lr_psnr(samples, hr, self.scale, self.truncate)
        return values.mean(0), values.amin(0)


class PixelDeviation(ImageMeans):
    """Standard deviation over the samples, grey levels of 255: `pixel_deviation`."""

    figures, of_spread = ("pixel_deviation",), True

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        return (pixel_deviation(samples),)


class SquaredErrorDiversity(ImageMeans):
    """NTIRE's diversity formula on the squared error, 0 to 100: `diversity_squared_error`."""

    figures, of_spread = ("diversity_squared_error",), True
    higher_is_better = True

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        return (diversity_squared_error(samples, hr),)


class CRPS(ImageMeans):
    """Continuous ranked probability score, grey levels of 255; of a single image the absolute error: `crps`."""

    figures = ("crps",)
    higher_is_better = False

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        return (crps(samples, hr),)


class NtireLPIPS(ImageMeans):
    """LPIPS as NTIRE 2021 has it (the spatial mean), plain LPIPS, and the challenge's diversity, 0 to 100."""

    figures = ("lpips", "lpips_plain", "diversity")

    def __init__(self, network: LPIPS | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network or LPIPS()

    def _measure(self, samples: Tensor, hr: Tensor, lr: Tensor | None) -> tuple[Tensor, ...]:
        return self.of_scores(ntire_lpips(self.network, samples, hr))

    @staticmethod
    def of_scores(scores: LPIPSScores) -> tuple[Tensor, ...]:
        """Every figure of every image, in the order of `figures`, from the scores of its samples."""
        return scores.spatial.mean(0), scores.plain.mean(0), diversity(scores.maps)


class BitsPerDim(ImageMeans):
    """Bits per dimension of dequantised photographs, 8-bit convention: `dequantised_bits_per_dim`. Not of samples."""

    figures = ("bits_per_dim",)
    higher_is_better = False

    def update(self, space: Space, hr: Tensor, seed: int = 0) -> None:  # type: ignore[override]
        """Measure photographs (B, 3, s h, s w) in the super-resolution space of their LR images."""
        self._add(dequantised_bits_per_dim(space, hr, seed))


class Calibration(_Measure):
    """Spread over error and coverage of intervals: `spread_and_error`, `pit_histogram`. Single images are left out."""

    spread: Tensor
    pit: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, shape in (("spread", (DEVIATION_BINS, 3)), ("pit", (PIT_BINS,))):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, samples: Tensor, hr: Tensor, lr: Tensor | None = None) -> None:
        """Count the values of samples (n, ..., 3, H, W) and photographs (..., 3, H, W)."""
        if len(samples) > 1:
            spread, pit = spread_and_error(samples, hr), pit_histogram(samples, hr)
            self.spread += spread.to(self.device)
            self.pit += pit.to(self.device)

    def compute(self) -> dict[str, Tensor]:
        """Root of spread over error (1 is ideal, less is overconfident), and both coverages; NaN if nothing came."""
        _, variance, error = self.spread.sum(0)
        covered = coverage(self.pit)
        return {"spread_skill": (variance / error).sqrt(), "coverage_50": covered[4], "coverage_90": covered[8]}


class _SetMeasure(_Measure):
    """A measure of all samples against all photographs, with a state of the same kind for either side."""

    sampled: Tensor
    photographed: Tensor

    def _add_states(self, empty: Tensor, merge: str | Callable[[Tensor], Tensor]) -> None:
        for name in ("sampled", "photographed"):
            self.add_state(name, empty.clone(), dist_reduce_fx=merge)


class TextureDistance(_SetMeasure):
    """Texture distance between all samples and all photographs; the state is two tables of 16384 patches (20 MB)."""

    higher_is_better = False

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self._add_states(empty_table(), first_patches)

    def update(self, samples: Tensor, hr: Tensor, lr: Tensor | None = None) -> None:
        """Offer the patches of samples (n, ..., 3, H, W) and of photographs (..., 3, H, W)."""
        check_samples(samples, hr)
        sampled = offer(self.sampled, samples, self.seed)
        self.photographed = offer(self.photographed, hr, self.seed)
        self.sampled = sampled

    def compute(self) -> dict[str, Tensor]:
        """The distance of all that came, 0 or more; NaN before anything came."""
        if not has_patches(self.sampled):
            return {"texture_distance": torch.tensor(torch.nan, dtype=torch.float64)}
        patches, photographs = table_patches(self.sampled), table_patches(self.photographed)
        distance = texture_distance(patches, photographs, self.seed)
        return {"texture_distance": torch.tensor(distance, dtype=torch.float64)}


class SmoothBlockGrain(_SetMeasure):
    """Grain in the photographs' smooth blocks; the state is two histograms (2 MB) of 1024 bins per grey level.

    So the medians are within half a bin of those that `grain` takes from all blocks at once.
    """

    _bins = 1024  # per grey level
    _levels = 128  # a deviation of luma is at most 109.5

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._add_states(torch.zeros(self._levels * self._bins, dtype=torch.int64), "sum")

    def update(self, samples: Tensor, hr: Tensor, lr: Tensor | None = None) -> None:
        """Count the blocks of samples (n, ..., 3, H, W) of photographs (..., 3, H, W)."""
        sampled, photographed = smooth_block_deviations(samples, hr)
        self.sampled += self._count(sampled)
        self.photographed += self._count(photographed)

    def compute(self) -> dict[str, Tensor]:
        """The samples' median deviation over the photographs'; NaN as in `Grain`."""
        ours, theirs = self._median(self.sampled), self._median(self.photographed)
        return {"grain": torch.where(theirs < 1 / self._bins, torch.nan, ours / theirs)}

    def _count(self, deviations: Tensor) -> Tensor:
        bins = (deviations.flatten() * self._bins).long()
        return torch.bincount(bins, minlength=self._levels * self._bins).to(self.device)

    def _median(self, counts: Tensor) -> Tensor:
        below = counts.cumsum(0)
        middle = (below[-1] - 1).div(2, rounding_mode="floor")  # of an even number the lower, as torch.median
        found = (torch.searchsorted(below, middle, right=True).double() + 0.5) / self._bins
        return torch.where(below[-1] > 0, found, torch.nan)
