"""The texture distance: its laws, and an even choice of patches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ncsr import metrics
from ncsr.ops.resize import imresize
from tests.metrics.made import Measure, assert_one_sentence, gray_levels, random_images


def texture(images: Tensor, seed: int = 0) -> Tensor:
    patches = metrics.TexturePatches(seed)
    for image in images:
        patches.add(image)
    return patches.patches()


def test_texture_distance_laws() -> None:
    photographs = random_images(3, 3, 40, 48)
    reference = texture(photographs)[::4]  # fewer patches, to be quick
    assert metrics.texture_distance(reference, reference) == 0
    same_kind = metrics.texture_distance(texture(random_images(3, 3, 40, 48, seed=1), seed=5)[::4], reference)
    assert same_kind == metrics.texture_distance(texture(random_images(3, 3, 40, 48, seed=1), seed=5)[::4], reference)
    # White noise of half the contrast has half the projections: a distance of 1000 * 0.5 * E|N(0, 1)|.
    weaker = metrics.texture_distance(texture((photographs - 0.5) / 2 + 0.5)[::4], reference)
    assert weaker == pytest.approx(1000 * 0.5 * math.sqrt(2 / math.pi), rel=0.02)
    assert same_kind < 0.15 * weaker


def test_texture_looks_at_the_finest_level_only() -> None:
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    ramp = texture(gray_levels(2 * row + column)[None])
    assert ramp[:, :, 2:5, 2:5].abs().median() < 1e-3
    checkerboard = texture(gray_levels(100 + 8 * ((row + column) % 2))[None])
    torch.testing.assert_close(checkerboard.abs().median().item(), 4.0)


def checkerboards(*amplitudes: int) -> Tensor:
    """Images whose finest level is +-amplitude."""
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return gray_levels(100 + 2 * torch.tensor(amplitudes)[:, None, None] * ((row + column) % 2))


def test_texture_patches_are_shared_evenly() -> None:
    amplitudes = texture(checkerboards(1, 2, 4))[:, 0, 3, 3].abs().round()
    counts = [int((amplitudes == level).sum()) for level in (1, 2, 4)]
    assert sum(counts) == 16384
    assert max(counts) - min(counts) <= 1


def test_texture_patches_do_not_depend_on_the_order_of_images() -> None:
    images = checkerboards(1, 2, 4, 8)
    patches = texture(images)
    assert torch.equal(texture(images.flip(0)), patches)
    assert not torch.equal(texture(images, seed=1), patches)
    batch = metrics.TexturePatches()
    batch.add(images[:, None])
    assert batch.patches().shape == (16384, 3, 7, 7)
    assert torch.equal(batch.patches(), patches)


def test_texture_looks_at_every_place() -> None:
    left = torch.where(torch.arange(32) < 16, checkerboards(8), checkerboards(2))
    amplitudes = texture(left)[:, 0, 3, 3].abs().round()
    assert 0.3 < (amplitudes == 8).float().mean() < 0.6
    assert 0.3 < (amplitudes == 2).float().mean() < 0.6


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.TexturePatches().add(x[:, :6]), "at least 7"),
        (lambda x: metrics.TexturePatches().patches(), "got none"),
        (lambda x: metrics.texture_distance(torch.zeros(4, 3, 7, 7), torch.zeros(5, 3, 7, 7)), "4 and 5"),
    ],
)
def test_wrong_input_is_one_sentence(measure: Measure, words: str) -> None:
    assert_one_sentence(measure, words)


def bicubic_drawing() -> tuple[Tensor, Tensor]:
    """A made photograph (uint8) and its bicubic enlargement x4."""
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    discs = ((row - 30) ** 2 + (column - 40) ** 2 < 400).float() + 0.5 * ((row + 2 * column) % 17 < 8).float()
    hr = metrics.eight_bit(gray_levels(60 + 90 * discs))
    return hr, imresize(imresize(hr, 0.25), 4.0)


def test_measures_rank_bicubic_below_the_photograph() -> None:
    hr, bicubic = bicubic_drawing()
    assert metrics.luma_psnr(hr, hr, 4) == math.inf
    assert 10 < metrics.luma_psnr(bicubic, hr, 4) < 30
    lr = imresize(hr, 0.25)
    assert metrics.lr_psnr(hr, lr) == math.inf
    assert 20 < metrics.lr_psnr(bicubic, lr) < 60
    assert metrics.texture_distance(texture(bicubic[None])[::4], texture(hr[None])[::4]) > 100
