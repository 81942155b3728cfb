"""The measures against values worked out by hand, their own laws, and the NTIRE 2021 golden numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

import ncsr
from ncsr import metrics
from ncsr.errors import InputError
from ncsr.ops.resize import imresize
from tests.conftest import scene
from tests.parity import golden


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def gray_levels(levels: Tensor) -> Tensor:
    """(..., H, W) of 0..255 as RGB images in [0, 1]."""
    return (levels.float() / 255).unsqueeze(-3).expand(*levels.shape[:-2], 3, *levels.shape[-2:])


def test_eight_bit() -> None:
    levels = torch.tensor([-3.0, 0.4, 0.6, 99.5 + 1e-3, 254.9, 300.0]).expand(3, 1, 6) / 255
    assert metrics.eight_bit(levels)[0, 0].tolist() == [0, 0, 1, 100, 255, 255]
    assert metrics.eight_bit(levels, truncate=True)[0, 0].tolist() == [0, 0, 0, 99, 254, 255]
    stored = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    assert torch.equal(metrics.eight_bit(stored, truncate=True), stored)
    assert torch.equal(metrics.eight_bit(stored.float() / 255), stored)


def test_crop_to_multiple_keeps_the_top_left() -> None:
    image = random_images(3, 13, 17)
    assert torch.equal(metrics.crop_to_multiple(image, 8), image[:, :8, :16])


def test_luma() -> None:
    colours = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    y = 255 * metrics.luma(colours.T[:, None, :])
    assert y.shape == (1, 1, 5)
    torch.testing.assert_close(y[0, 0], torch.tensor([16, 235, 81.481, 144.553, 40.966]))


def test_psnr() -> None:
    a = torch.zeros(2, 3, 8, 8)
    b = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.01)])
    torch.testing.assert_close(metrics.psnr(a, b), torch.tensor([20.0, 40.0], dtype=torch.float64))
    assert metrics.psnr(a[0], a[0]) == math.inf
    pooled_pixels = torch.zeros(3, 8, 8)
    pooled_pixels[0, :, 0] = 0.5  # an eighth of one of three channels: MSE 1/96
    torch.testing.assert_close(metrics.psnr(a[0], pooled_pixels).item(), 10 * math.log10(96))
    assert metrics.psnr(a[0], pooled_pixels, shave=1) == math.inf


def test_psnr_of_samples_broadcasts() -> None:
    samples, hr = random_images(4, 2, 3, 8, 8), random_images(2, 3, 8, 8, seed=1)
    values = metrics.psnr(samples, hr)
    assert values.shape == (4, 2)
    assert values[3, 1] == metrics.psnr(samples[3, 1], hr[1])


def test_table_psnr_rounds_and_shaves() -> None:
    hr = gray_levels(torch.full((16, 16), 100.0))
    sr = gray_levels(torch.full((16, 16), 110.4))  # saved as 110
    sr = torch.cat([torch.zeros(3, 4, 16), sr[:, 4:]], 1)  # the black border is shaved off
    torch.testing.assert_close(metrics.rgb_psnr(sr, hr, 4).item(), 20 * math.log10(255 / 10))
    torch.testing.assert_close(metrics.luma_psnr(sr, hr, 4).item(), 20 * math.log10(255 / (10 * 219 / 255)))
    assert metrics.rgb_psnr(sr, hr, 3) < 20


def test_luma_psnr_weighs_channels() -> None:
    hr = torch.full((3, 8, 8), 0.4)
    sr = hr + torch.tensor([0.0, 0.2, 0.0])[:, None, None]
    torch.testing.assert_close(metrics.luma_psnr(sr, hr, 2).item(), 20 * math.log10(255 / (0.2 * 128.553)))


def test_psnr_is_that_of_torchmetrics() -> None:
    a, b = random_images(4, 3, 24, 32).double(), random_images(4, 3, 24, 32, seed=1).double()
    expected = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
    torch.testing.assert_close(metrics.psnr(a, b), expected, rtol=0, atol=1e-6)  # its log(10) is float32


def ssim_by_hand(a: Tensor, b: Tensor) -> float:
    """Of one channel (H, W), by the formula: the windows wholly inside, one by one."""
    taps = torch.exp(-((torch.arange(11) - 5).double() ** 2) / (2 * 1.5**2))
    window = taps[:, None] * taps / taps.sum() ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (image[top : top + 11, left : left + 11].double() for image in (a, b))
            mean_x, mean_y = (window * x).sum(), (window * y).sum()
            xx, yy, xy = ((window * u * v).sum() for u, v in ((x, x), (y, y), (x, y)))
            c1, c2 = 0.01**2, 0.03**2
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
            values.append(luminance * structure)
    return torch.stack(values).mean().item()


def test_ssim_by_hand() -> None:
    a = random_images(2, 14, 17)
    b = 0.6 * a + 0.3 * random_images(2, 14, 17, seed=1)
    expected = (ssim_by_hand(a[0], b[0]) + ssim_by_hand(a[1], b[1])) / 2
    assert metrics.ssim(a, b).item() == pytest.approx(expected, abs=1e-5)
    assert metrics.ssim(a, a).item() == pytest.approx(1, abs=1e-6)
    assert metrics.ssim(a, b, shave=1) == metrics.ssim(a[:, 1:-1, 1:-1], b[:, 1:-1, 1:-1])


def test_ssim_of_samples() -> None:
    samples, hr = random_images(3, 2, 3, 24, 28), random_images(2, 3, 24, 28, seed=1)
    for measure, of_image in ((metrics.luma_ssim, metrics.luma), (metrics.rgb_ssim, lambda x: x)):
        values = measure(samples, hr, 4)
        assert values.shape == (3, 2)
        a, b = (of_image((x * 255).round() / 255) for x in (samples[2, 1], hr[1]))
        assert values[2, 1].item() == pytest.approx(metrics.ssim(a, b, shave=4).item(), abs=1e-6)


def test_measures_of_samples_are_those_of_single_images() -> None:
    samples, hr = random_images(3, 2, 3, 24, 32), random_images(2, 3, 24, 32, seed=1)
    lr = imresize(hr, 0.25)
    for values, single in (
        (metrics.luma_psnr(samples, hr, 4), metrics.luma_psnr(samples[2, 1], hr[1], 4)),
        (metrics.rgb_psnr(samples, hr, 4), metrics.rgb_psnr(samples[2, 1], hr[1], 4)),
        (metrics.lr_psnr(samples, lr), metrics.lr_psnr(samples[2, 1], lr[1])),
    ):
        assert values.shape == (3, 2)
        assert values[2, 1] == single


def ntire_images() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    arrays = golden("ntire_metrics_x4")
    return arrays["samples"].movedim(-1, -3), arrays["gt"].movedim(-1, -3), arrays


@pytest.mark.parametrize("as_float", [False, True])
def test_ntire_lr_psnr_golden(as_float: bool) -> None:
    samples, hr, expected = ntire_images()
    if as_float:
        samples, hr = samples.float() / 255, hr.float() / 255
    values = metrics.ntire_lr_psnr(samples, hr, 4)
    torch.testing.assert_close(values, expected["lr_psnr"], rtol=0, atol=1e-5)
    summary = metrics.mean_and_worst(values[:, None])
    assert summary.mean == pytest.approx(expected["LRPSNR_mean"].item(), abs=1e-5)
    assert summary.worst == pytest.approx(expected["LRPSNR_worst"].item(), abs=1e-5)


def test_mean_and_worst_takes_the_least_per_image() -> None:
    assert metrics.mean_and_worst(torch.tensor([[50.0, 30.0], [40.0, 44.0]])) == (41.0, 35.0)


def test_lr_psnr_of_a_batch() -> None:
    samples, lr = random_images(3, 2, 3, 32, 40), random_images(2, 3, 8, 10, seed=1)
    values = metrics.lr_psnr(samples, lr)
    assert values.shape == (3, 2)
    reduced = imresize((samples[2, 1] * 255).round().to(torch.uint8), 0.25).double()
    error = (reduced - (lr[1] * 255).round().double()).square().mean().item()
    assert values[2, 1].item() == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)


def test_lr_psnr_rounds_or_truncates() -> None:
    sr = gray_levels(torch.full((16, 16), 100.6))
    lr = gray_levels(torch.full((4, 4), 101.0))
    assert metrics.lr_psnr(sr, lr) == math.inf
    assert metrics.lr_psnr(sr, lr, truncate=True).item() == pytest.approx(20 * math.log10(255))


def test_pixel_deviation() -> None:
    samples = torch.stack([gray_levels(torch.full((8, 8), level)) for level in (100.0, 102.0, 104.0)])
    assert metrics.pixel_deviation(samples).item() == pytest.approx(2.0, abs=1e-6)
    half_constant = samples.clone()
    half_constant[:, :, :4] = 0.3
    both = torch.stack([samples, half_constant], 1)  # (n, B, 3, H, W)
    torch.testing.assert_close(metrics.pixel_deviation(both), torch.tensor([2.0, 1.0], dtype=torch.float64))


def test_diversity_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3.0]], [[4.0, 2.0]]])  # means 2 and 3; pixelwise best 1 and 2
    assert metrics.diversity(maps).item() == pytest.approx(100 * (2 - 1.5) / 2)
    assert metrics.diversity(maps[:1]) == 0
    assert metrics.diversity(torch.stack([maps, 7 * maps], 1)).tolist() == pytest.approx([25.0, 25.0])
    assert metrics.diversity(torch.zeros(2, 4, 4)) == 0


def test_diversity_squared_error() -> None:
    hr = gray_levels(torch.full((8, 16), 100.0))
    samples = hr.repeat(2, 1, 1, 1)
    samples[0, 0, :, :8] += 10 / 255  # red only: 100 / 3 over the left half
    samples[1, :, :, 8:] += 10 / 255  # 100 over the right half; pixelwise there is no error
    assert metrics.diversity_squared_error(samples, hr).item() == pytest.approx(100.0)
    samples[1] += 5.2 / 255  # saved as 5: 25 left and 225 right; the best image is still the first, 100 / 6
    expected = 100 * (100 / 6 - 25 / 2) / (100 / 6)
    assert metrics.diversity_squared_error(samples, hr).item() == pytest.approx(expected, rel=1e-5)


def test_diversity_squared_error_crops_to_eight() -> None:
    samples, hr = random_images(3, 2, 3, 21, 30), random_images(2, 3, 21, 30, seed=1)
    cropped = metrics.diversity_squared_error(samples[..., :16, :24], hr[..., :16, :24])
    torch.testing.assert_close(metrics.diversity_squared_error(samples, hr), cropped, rtol=0, atol=0)


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


def test_smooth_block_grain() -> None:
    column = torch.arange(16.0).expand(16, 16)
    stripes = 2 * (column % 2) - 1  # standard deviation 1
    blocks = torch.cat([100 + stripes, 100 + 2 * stripes, 100 + 50 * stripes], 1)  # the last is not smooth
    hr = torch.nn.functional.pad(blocks, (0, 5, 0, 3), value=0)
    sample = torch.nn.functional.pad(100 + 3 * torch.cat(3 * [stripes], 1), (0, 5, 0, 3), value=0)
    result = metrics.smooth_block_grain(gray_levels(sample.expand(2, -1, -1)), gray_levels(hr))
    luma_gain = 219 / 255
    assert result.photograph == pytest.approx(luma_gain, abs=1e-4)
    assert result.samples == pytest.approx(3 * luma_gain, abs=1e-4)
    assert result.ratio == pytest.approx(3, abs=1e-4)


def test_grain_of_a_set_is_gathered_piece_by_piece() -> None:
    hr = 0.5 + 0.01 * random_images(2, 3, 48, 64)
    samples = 0.5 + 0.02 * random_images(3, 2, 3, 48, 64, seed=1)
    pieces = [metrics.smooth_block_deviations(samples[:, b], hr[b]) for b in range(2)]
    assert pieces[0][0].shape == (3, 12)
    together = metrics.grain(torch.cat([p[0] for p in pieces], 1), torch.cat([p[1] for p in pieces]))
    assert together == metrics.smooth_block_grain(samples, hr)
    assert together.ratio > 1.5


def test_grain_without_smooth_blocks_is_nan() -> None:
    rough = random_images(2, 3, 32, 32)
    assert math.isnan(metrics.smooth_block_grain(rough, rough[0]).ratio)
    small = rough[..., :8, :8]
    assert math.isnan(metrics.smooth_block_grain(small, small[0]).ratio)


def test_dequantised_is_half_a_grey_level_around() -> None:
    hr = random_images(2, 3, 16, 16)
    noise = 255 * metrics.dequantised(hr) - metrics.eight_bit(hr)
    assert -0.5 - 1e-4 < noise.min() < -0.45
    assert 0.45 < noise.max() < 0.5 + 1e-4
    assert abs(noise.mean()) < 0.05
    torch.testing.assert_close(noise[0], noise[1], rtol=0, atol=1e-4)  # an image's own, whatever the batch
    assert torch.equal(metrics.dequantised(hr[1]), metrics.dequantised(hr)[1])
    assert not torch.equal(metrics.dequantised(hr, seed=1), metrics.dequantised(hr))


def test_dequantised_bits_per_dim(tiny_model: ncsr.NCSR) -> None:
    hr = torch.from_numpy(scene(32, 40)).movedim(-1, 0).float()[None]
    space = tiny_model.space(imresize(hr, 0.25))
    bits = metrics.dequantised_bits_per_dim(space, hr)
    assert bits.shape == (1,)
    expected = space.bits_per_dim(metrics.dequantised(hr)) + 8
    torch.testing.assert_close(bits, expected.double())
    assert bits != space.bits_per_dim(hr) + 8


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


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.psnr(x, x[..., :4, :]), "same .* got"),
        (lambda x: metrics.psnr(metrics.eight_bit(x), x), "floating-point"),
        (lambda x: metrics.psnr(x, x, shave=4), "shaving 4"),
        (lambda x: metrics.luma_psnr(x[:1], x[:1], 1), r"\(\.\.\., 3, H, W\), got \(1, 8, 8\)"),
        (lambda x: metrics.rgb_psnr(x / 0, x, 1), "finite"),
        (lambda x: metrics.rgb_psnr(x.long(), x, 1), "int64"),
        (lambda x: metrics.lr_psnr(x, x[:, :3, :3]), "whole multiple"),
        (lambda x: metrics.lr_psnr(x, x[:, :2, :4]), "whole multiple"),
        (lambda x: metrics.pixel_deviation(x[None]), "two samples"),
        (lambda x: metrics.diversity_squared_error(x, x), "photograph"),
        (lambda x: metrics.smooth_block_grain(x[None, None], x), "photograph"),
        (lambda x: metrics.TexturePatches().add(x[:, :6]), "at least 7"),
        (lambda x: metrics.TexturePatches().patches(), "got none"),
        (lambda x: metrics.ssim(x, x), "11 x 11 pixels or more, got 8 x 8"),
        (lambda x: metrics.ssim(metrics.eight_bit(x), x), "floating-point"),
        (lambda x: metrics.luma_ssim(x, x[..., :4, :], 1), "same .* got"),
        (lambda x: metrics.texture_distance(torch.zeros(4, 3, 7, 7), torch.zeros(5, 3, 7, 7)), "4 and 5"),
    ],
)
def test_wrong_input_is_one_sentence(measure: object, words: str) -> None:
    assert callable(measure)
    with pytest.raises(InputError, match=words) as error:
        measure(random_images(3, 8, 8))
    assert "\n" not in str(error.value)
