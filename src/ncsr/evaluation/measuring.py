"""Measuring the samples of one photograph, and those of a set of photographs as a whole."""

from __future__ import annotations

import warnings

from torch import Tensor

from ncsr.evaluation.pairs import Pair
from ncsr.metrics import LPIPS, crop_to_multiple, eight_bit
from ncsr.metrics.streaming import CRPS, Calibration, NtireLPIPS, image_measures, set_measures

State = dict[str, Tensor]


class ImageMeasures:
    """All measures of one photograph, whose LPIPS features are computed once for all models and samples.

    Args:
        pair: the photograph and its LR image.
        lpips: the network; LPIPS is computed on its device.
        truncate: whether samples are truncated to 8 bits for LR-PSNR instead of rounded.
        calibration: whether CRPS is measured as well.
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
            deterministic: whether the only image stands for any number of equal samples, whose spread is 0; otherwise
                one image has no measures of spread.
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
    """Texture distance, grain and, with `calibration`, calibration of a set of photographs, gathered one by one.

    The size of the state does not depend on their number.
    """

    def __init__(self, calibration: bool = False) -> None:
        self._measures = set_measures(sync_on_compute=False)  # processes share files instead: ncsr.evaluation.records
        if calibration:
            self._measures.add_metrics({"calibration": Calibration(sync_on_compute=False)})

    def add(self, samples: Tensor, hr: Tensor) -> None:
        """Add the samples (n, 3, H, W) of a photograph (3, H, W)."""
        self._measures.update(samples, hr)

    def state(self) -> State:
        """The tables and histograms that have been gathered."""
        measures = self._measures.items()
        return {f"{kind}_{name}": getattr(measure, name) for kind, measure in measures for name in measure.metric_state}

    def merge(self, state: State) -> None:
        """Add the `state` that another process gathered from other photographs."""
        for kind, measure in self._measures.items():
            measure.merge_state({name: state[f"{kind}_{name}"] for name in measure.metric_state})

    def figures(self) -> dict[str, float]:
        """The figures of all photographs, of which there must be at least one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns if `update` was never called, but only `merge`
            return {name: float(value) for name, value in self._measures.compute().items()}
