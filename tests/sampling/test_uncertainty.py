"""What samples say of each pixel: by the definitions, from samples that are known."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ncsr
from ncsr import InputError
from ncsr.sampling.uncertainty import measure_uncertainty
from tests.models import lively_encoder, lively_model

MODEL = lively_model(dtype=torch.float32)


def samples(n: int = 7) -> Tensor:
    return torch.rand(n, 2, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def close(actual: object, expected: object, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_moments_and_quantiles_are_those_of_all_samples_at_once(n: int) -> None:
    drawn = samples(n)
    found = measure_uncertainty(iter(drawn))
    close(found.mean, drawn.mean(0), 1e-6)
    close(found.std, drawn.std(0, correction=0), 1e-6)
    for q in (0, 0.05, 0.5, 0.8, 1):
        close(found.quantile(q), torch.quantile((drawn * 255).round() / 255, q, dim=0), 1e-6)


def test_deviations_far_below_the_mean_are_not_lost() -> None:
    drawn = 0.9 + 1e-4 * samples(50)
    close(measure_uncertainty(drawn).std, drawn.double().std(0, correction=0).float(), 1e-7)
    assert not measure_uncertainty(drawn[:1].expand(5, -1, -1, -1, -1)).std.any()


def test_agreement_is_the_share_of_samples_near_the_median_in_all_colours() -> None:
    levels = torch.tensor([100, 100, 101, 108, 109, 120, 90]).float()
    drawn = (levels / 255)[:, None, None, None].repeat(1, 3, 2, 2)  # the median is 101
    found = measure_uncertainty(drawn)
    close(found.agreement(), torch.full((2, 2), 5 / 7), 1e-6)  # all but 120 and 90
    close(found.agreement(0), torch.full((2, 2), 1 / 7), 1e-6)
    close(found.agreement(255), torch.ones(2, 2), 0)
    drawn[0, 1, 0, 0] = 85 / 255  # one colour alone
    assert measure_uncertainty(drawn).agreement()[0, 0] == pytest.approx(4 / 7)


def test_what_a_notebook_shows() -> None:
    found = measure_uncertainty(samples())
    picture = Image.open(io.BytesIO(found._repr_png_()))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (6, 10))
    assert repr(found).startswith("Uncertainty(7 samples of each of 2 images of 6 x 5, deviation ")
    assert repr(measure_uncertainty(samples()[:, 0])).startswith("Uncertainty(7 samples of 6 x 5, ")
    with pytest.raises(InputError, match="of one share from 0 to 1, got 50"):
        found.quantile(50)
    with pytest.raises(InputError, match=r"of one share from 0 to 1, got \[0.1, 0.9\]"):
        found.quantile([0.1, 0.9])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a number of grey levels, got 'a'"):
        found.agreement("a")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: MODEL, lambda: lively_encoder("esrgan+", torch.float32)])
def test_a_space_draws_the_samples_of_its_seed_a_few_at_a_time(make: object) -> None:
    space = make().space(torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)))  # type: ignore[operator]
    found = space.uncertainty(6, seed=3, temperature=0.5)
    drawn = space.sample(6, 0.5, seed=3)
    close(found.mean, drawn.mean(0), 1e-5)
    close(found.samples, (drawn * 255).round().byte(), 1)
    assert space.uncertainty(1).mean.shape == (2, 3, 16, 20)
    assert space.seed != 3
    with pytest.raises(InputError, match="number of samples must be at least 1"):
        space.uncertainty(0)


@pytest.mark.parametrize("gray", [False, True])
def test_a_photograph_of_any_size_in_tiles(gray: bool) -> None:
    photo = np.random.default_rng(0).integers(256, size=(9, 40) if gray else (9, 40, 4), dtype=np.uint8)
    found = ncsr.uncertainty(photo, MODEL, 3, seed=1, temperature=0.5)
    assert found.mean.shape == (1 if gray else 3, 36, 160)
    drawn = ncsr.upscale(photo, MODEL, 3, seed=1, temperature=0.5)
    expected = torch.from_numpy(np.stack(drawn)).float() / 255
    if gray:
        close(found.mean[0], expected.mean(0), 0.6 / 255)
    tiled = ncsr.uncertainty(photo, MODEL, 3, seed=1, temperature=0.5, tile=16)
    assert (tiled.std - found.std).abs().mean() < 0.2 * found.std.mean()
