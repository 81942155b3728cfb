"""The figures of photographs are those of the streaming measures; those of sets merge."""

from __future__ import annotations

import pytest

from ncsr.evaluation.measuring import ImageMeasures, SetMeasures
from ncsr.metrics import LPIPS, lr_psnr, luma_psnr, texture
from ncsr.metrics.streaming import all_measures
from tests.evaluation.made import made_pair, made_samples


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few patches of texture, whose sorting would take most time."""
    monkeypatch.setattr(texture, "PATCHES", 256)
    monkeypatch.setattr(texture, "DIRECTIONS", 8)


def test_figures_are_those_of_the_streaming_measures() -> None:
    pairs = [made_pair(seed) for seed in range(3)]
    lpips, measures, gathered, figures = LPIPS(), all_measures(4), SetMeasures(), []
    for i, pair in enumerate(pairs):
        samples = made_samples(pair, seed=i)
        measures.update(samples, pair.hr, pair.lr)
        gathered.add(samples, pair.hr)
        figures.append(ImageMeasures(pair, lpips, truncate=False).measure(samples, deterministic=False)[0])
    expected = {name: float(value) for name, value in measures.compute().items()}
    found = gathered.figures() | {name: sum(f[name] for f in figures) / 3 for name in figures[0]}
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_truncation_concerns_lr_psnr_alone() -> None:
    pair = made_pair()
    samples = made_samples(pair)
    rounded, truncated = (ImageMeasures(pair, LPIPS(), t).measure(samples, False)[0] for t in (False, True))
    assert truncated["lr_psnr_mean"] == lr_psnr(samples, pair.lr, truncate=True).mean()
    assert truncated["lr_psnr_mean"] != rounded["lr_psnr_mean"]
    assert truncated["luma_psnr"] == rounded["luma_psnr"] == luma_psnr(samples, pair.hr, 4).mean()


def test_one_image_deviates_only_if_it_is_all_there_can_be() -> None:
    pair = made_pair()
    measures, one = ImageMeasures(pair, LPIPS(), False), made_samples(pair, 1)
    of_spread = ("pixel_deviation", "diversity_squared_error", "diversity")
    figures = measures.measure(one, deterministic=True)[0]
    assert [figures[name] for name in of_spread] == [0, 0, 0]
    assert not {*of_spread} & measures.measure(one, deterministic=False)[0].keys()


def test_the_error_of_a_pixel_is_its_lpips() -> None:
    pair = made_pair()
    figures, error = ImageMeasures(pair, LPIPS(), False).measure(made_samples(pair), False)
    assert error.shape == pair.hr.shape[-2:]
    assert error.mean().item() == pytest.approx(figures["lpips"])


def test_set_measures_merge_to_those_of_all() -> None:
    pairs = [made_pair(seed) for seed in range(4)]
    whole, parts = SetMeasures(), [SetMeasures(), SetMeasures()]
    for i, pair in enumerate(pairs):
        samples = made_samples(pair, seed=i)
        whole.add(samples, pair.hr)
        parts[i % 2].add(samples, pair.hr)
    merged = SetMeasures()
    for part in reversed(parts):
        merged.merge(part.state())
    assert merged.figures() == pytest.approx(whole.figures(), rel=1e-12, nan_ok=True)
