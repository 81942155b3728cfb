"""The measures of one photograph's samples, and those of a set of photographs as a whole."""

from __future__ import annotations

import warnings

from torch import Tensor

from ncsr.evaluation.pairs import Pair
from ncsr.metrics import LPIPS, crop_to_multiple, eight_bit
from ncsr.metrics.streaming import CRPS, Calibration, NtireLPIPS, image_measures, set_measures

State = dict[str, Tensor]


class ImageMeasures:
    """All measures of one photograph, whose LPIPS features are computed once for all models and samples.

    Measured on the device of `lpips`. With `truncate`, samples are truncated to 8 bits for LR-PSNR; with `calibration`,
    CRPS is among the measures.
    """

    def __init__(self, pair: Pair, lpips: LPIPS, truncate: bool, calibration: bool = False) -> None:
        self._pair, self._truncate = pair, truncate
        self._measures = image_measures(pair.scale, truncate) + ([CRPS()] if calibration else [])
        self._device = lpips.get_buffer("shift").device
        self._reference = lpips.reference(crop_to_multiple(pair.hr, 8).to(self._device))

    def measure(self, samples: Tensor, deterministic: bool) -> tuple[dict[str, float], Tensor]:
        """All figures of samples (n, 3, s h, s w), and their mean LPIPS per pixel, (H, W).

        Args:
            samples: uint8, or floating point in [0, 1].
            deterministic: whether one image stands for any number of equal ones: then they do not deviate at all.
        """
        hr, lr = self._pair.hr, self._pair.lr
        stored = eight_bit(samples)
        figures: dict[str, Tensor | float] = {}
        for measure in self._measures:
            if len(samples) > 1 or not measure.of_spread:
                figures |= measure.measure(samples if self._truncate else stored, hr, lr)
            elif deterministic:
                figures |= dict.fromkeys(measure.figures, 0.0)
        scores = self._reference.compare(crop_to_multiple(stored, 8).to(self._device))
        figures |= zip(NtireLPIPS.figures, NtireLPIPS.of_scores(scores), strict=True)
        if len(samples) == 1 and not deterministic:
            del figures["diversity"]
        return {name: float(value) for name, value in figures.items()}, scores.maps.mean(0).cpu()


class SetMeasures:
    """Texture distance, grain and, if asked for, calibration, gathered image by image.

    The state has the same size for any number of images.
    """

    def __init__(self, calibration: bool = False) -> None:
        self._measures = set_measures(sync_on_compute=False)  # shared by files instead: `ncsr.evaluation.records`
        if calibration:
            self._measures.add_metrics({"calibration": Calibration(sync_on_compute=False)})

    def add(self, samples: Tensor, hr: Tensor) -> None:
        """Take in the samples (n, 3, H, W) of a photograph (3, H, W)."""
        self._measures.update(samples, hr)

    def state(self) -> State:
        """The tables and histograms that have been gathered."""
        measures = self._measures.items()
        return {f"{kind}_{name}": getattr(measure, name) for kind, measure in measures for name in measure.metric_state}

    def merge(self, state: State) -> None:
        """Take in what another has gathered of other images."""
        for kind, measure in self._measures.items():
            measure.merge_state({name: state[f"{kind}_{name}"] for name in measure.metric_state})

    def figures(self) -> dict[str, float]:
        """The figures of all that came; at least one image."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing came but by `merge`
            return {name: float(value) for name, value in self._measures.compute().items()}
