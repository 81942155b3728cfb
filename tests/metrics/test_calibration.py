"""Calibration: known numbers, and samples that are calibrated because the photograph is one of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.metrics import coverage, crps, pit_histogram, spread_and_error
from ncsr.metrics.calibration import PIT_BINS
from ncsr.metrics.streaming import CRPS, Calibration

_SIDE, _SIGMA = 128, 20.0  # pixels, grey levels
_VALUES = 3 * _SIDE**2


def _levels(*values: float) -> Tensor:
    """Images of one level each, (n, 3, 2, 2) uint8."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 2, 2).to(torch.uint8)


def _ensemble(n: int, sigma: Tensor | float = _SIGMA) -> tuple[Tensor, Tensor]:
    """Samples and a photograph of the same distribution, another one at every value; drawn in float64."""
    generator = torch.Generator().manual_seed(n)
    shape = (3, _SIDE, _SIDE)
    mean = 100 + 50 * torch.rand(shape, generator=generator, dtype=torch.float64)
    drawn = mean + sigma * torch.randn(n + 1, *shape, generator=generator, dtype=torch.float64)
    images = (drawn / 255).clamp(0, 1)
    return images[1:], images[0]


@pytest.mark.parametrize(("x", "y", "expected"), [((10, 30), 20, 0), ((10, 30), 50, 20), ((7, 7), 9, 2), ((5,), 8, 3)])
def test_crps_of_two_members_is_known(x: tuple[int, ...], y: int, expected: float) -> None:
    """(|a - y| + |b - y|) / 2 - |a - b| / 2, and the absolute error of one."""
    assert crps(_levels(*x), _levels(y)[0]).item() == expected


def test_crps_is_the_mean_over_pairs_and_image_by_image() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (5, 2, 3, 4, 6), dtype=np.uint8)
    y = random.integers(0, 256, (2, 3, 4, 6), dtype=np.uint8)
    a, b = x.astype(float), y.astype(float)
    pairs = sum(np.abs(a[i] - a[j]) for i in range(5) for j in range(5)) / (2 * 5 * 4)
    expected = (np.abs(a - b).mean(0) - pairs).mean((-3, -2, -1))
    found = crps(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    metric = CRPS()
    metric.update(torch.from_numpy(x), torch.from_numpy(y))
    assert metric.compute()["crps"].item() == pytest.approx(expected.mean(), rel=1e-6)


def test_crps_of_calibrated_samples_is_that_of_the_distribution() -> None:
    """Of a normal distribution sigma / sqrt(pi), whatever the number of samples; rounding adds 1 / 12 to its square."""
    expected = math.sqrt((_SIGMA**2 + 1 / 12) / math.pi)
    for n in (2, 10):
        assert crps(*_ensemble(n)).item() == pytest.approx(expected, abs=5 * _SIGMA / math.sqrt(_VALUES))


@pytest.mark.parametrize("n", [2, 10, 19])
def test_calibrated_samples_are_found_calibrated(n: int) -> None:
    """Five standard errors; without (n + 1) / n the ratio would be 0.82 for two samples."""
    metric = Calibration()
    metric.update(*_ensemble(n))
    found = metric.compute()
    assert found["spread_skill"].item() == pytest.approx(1, abs=5 * math.sqrt((2 + 2 / (n - 1)) / _VALUES) / 2)
    for share, name in ((0.5, "coverage_50"), (0.9, "coverage_90")):
        assert found[name].item() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / _VALUES))
    assert metric.pit.sum().item() == pytest.approx(_VALUES)
    error = 5 * math.sqrt(_VALUES / PIT_BINS)
    assert (metric.pit - _VALUES / PIT_BINS).abs().max() < error


def test_spread_follows_error_where_it_differs_from_place_to_place() -> None:
    sigma = torch.full((3, _SIDE, _SIDE), 4.0, dtype=torch.float64)
    sigma[:, :, _SIDE // 2 :] = 40
    table = spread_and_error(*_ensemble(30, sigma))
    for part, expected in ((table[:15], 4.0), (table[15:], 40.0)):
        count, variance, error = part.sum(0)
        assert count == _VALUES / 2
        limit = 5 * math.sqrt(2 / count) * 1.02 / 2
        assert (variance / error).sqrt().item() == pytest.approx(1, abs=limit)
        assert (error / count).sqrt().item() == pytest.approx(expected * math.sqrt(31 / 30), rel=limit, abs=0.02)


def test_too_sure_and_too_wide() -> None:
    samples, hr = _ensemble(19)
    for factor, lower in ((0.5, True), (2.0, False)):
        metric = Calibration()
        metric.update((samples.mean(0) + factor * (samples - samples.mean(0))).clamp(0, 1), hr)
        found = metric.compute()
        for name, ideal in (("spread_skill", 1.0), ("coverage_50", 0.5), ("coverage_90", 0.9)):
            assert (found[name] < ideal - 0.05) == lower
            assert (found[name] > ideal + 0.05) == (not lower)


def test_ranks_are_spread_over_their_part_of_the_distribution() -> None:
    pit = pit_histogram(_levels(10, 20), _levels(15)[0])
    assert pit.sum() == pytest.approx(12)
    expected = [0] * 6 + [12 * 3 * (0.35 - 1 / 3)] + [12 * 3 * 0.05] * 6 + [12 * 3 * (2 / 3 - 0.65)] + [0] * 6
    assert pit.tolist() == pytest.approx(expected)
    flat = pit_histogram(_levels(10, 10), _levels(10)[0])  # could have any rank
    assert flat.tolist() == pytest.approx([12 / PIT_BINS] * PIT_BINS)
    assert coverage(flat).tolist() == pytest.approx([k / 10 for k in range(1, 11)])


def test_what_is_gathered_merges_and_single_images_are_left_out() -> None:
    samples, hr = _ensemble(4)
    whole, parts = Calibration(), [Calibration(), Calibration()]
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(value.isnan() for value in whole.compute().values())
    whole.update(samples[:1], hr)
    assert not whole.pit.any()
    whole.update(torch.stack([samples, samples], 1), torch.stack([hr, hr]))
    for part in parts:
        part.update(samples, hr)
    parts[0].merge_state({"spread": parts[1].spread, "pit": parts[1].pit})
    for name, value in whole.compute().items():
        assert parts[0].compute()[name].item() == pytest.approx(value.item(), rel=1e-12)
    with pytest.raises(InputError):
        whole.update(samples[..., :-1], hr)


@pytest.mark.parametrize("measure", [pit_histogram, spread_and_error])
def test_one_sample_has_no_spread(measure: Callable[[Tensor, Tensor], Tensor]) -> None:
    samples, hr = _ensemble(1)
    with pytest.raises(InputError, match="at least two samples"):
        measure(samples, hr)
