"""Tiles: they cover an image once, nobody sees them, and a sample that is not finite is drawn again as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ncsr import NCSR, EncoderConfig, InputError, ModelConfig, SamplingError
from ncsr.space.checks import ATTEMPTS, check_sampling
from ncsr.space.flow_space import FlowSpace
from ncsr.upscaling import tile_size, tiling
from ncsr.upscaling.resume_log import ResumeLog
from ncsr.upscaling.tile_size import OVERLAP, choose_side, tile_bytes
from ncsr.upscaling.tiling import SampleRequest, Tile, draw_tiles, tiles
from tests.conftest import TINY, scene

_GRAY_LEVEL = 1 / 255


def _lr(height: int, width: int) -> Tensor:
    return torch.from_numpy(scene(height, width)).permute(2, 0, 1).float()


def sample_image(
    model: NCSR,
    lr: Tensor,
    n: int,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """n samples of one LR image (3, h, w), drawn in tiles, (n, 3, s h, s w) in [0, 1]."""
    temperature = model.config.temperature if temperature is None else temperature
    request = SampleRequest(n, temperature, check_sampling(n, temperature, seed), tile)
    scale, (height, width) = model.config.scale, lr.shape[-2:]
    side = choose_side(model, height, width, tile)
    images = torch.empty(n, 3, scale * height, scale * width)

    def read(part: Tile) -> Tensor:
        top, left, bottom, right = part.window
        return lr[None, :, top:bottom, left:right]

    drawn = draw_tiles(model, (1, height, width), side, read, request, ResumeLog(), progress)
    for part, k, image in drawn:
        images[k, :, scale * part.top : scale * part.bottom, scale * part.left : scale * part.right] = image[0]
    return images.clamp_(0, 1)


@pytest.mark.parametrize(
    ("height", "width", "side"), [(4, 4, 16), (16, 33, 16), (47, 50, 16), (61, 30, 24), (50, 50, 50)]
)
def test_tiles_cover_every_pixel_once(height: int, width: int, side: int) -> None:
    covered = np.zeros((height, width), dtype=int)
    for tile in tiles(height, width, side):
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
        assert max(tile.bottom - tile.top, tile.right - tile.left) <= side
        top, left, bottom, right = tile.window
        assert top % 2 == left % 2 == 0
        assert top == max(tile.top - OVERLAP, 0)
        assert left == max(tile.left - OVERLAP, 0)
        assert bottom == min(tile.bottom + OVERLAP, height)
        assert right == min(tile.right + OVERLAP, width)
        assert bottom % 2 == 0 or bottom == height
        assert right % 2 == 0 or right == width
    assert (covered == 1).all()


@pytest.mark.parametrize("tile", [16, 19])
def test_tiled_image_equals_the_untiled_one(tiny_model: NCSR, tile: int) -> None:
    lr = _lr(21, 38)
    whole = tiny_model.space(lr[None]).sample(2, 0.8, seed=3)[:, 0]
    torch.testing.assert_close(sample_image(tiny_model, lr, 2, 0.8, 3), whole, rtol=0, atol=1e-5)
    assert whole[0].sub(whole[1]).abs().mean() > 10 * _GRAY_LEVEL
    tiled = sample_image(tiny_model, lr, 2, 0.8, 3, tile)
    assert (tiled - whole).abs().max() < _GRAY_LEVEL


def test_tiles_need_their_overlap(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above would see a seam."""
    lr = _lr(20, 38)
    whole = sample_image(tiny_model, lr, 1, 0.8, 3)
    monkeypatch.setattr(tiling, "OVERLAP", 0)
    assert (sample_image(tiny_model, lr, 1, 0.8, 3, 16) - whole).abs().max() > 2 * _GRAY_LEVEL


def test_large_images_are_tiled_by_memory(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_side(tiny_model, 40, 61, None) == 64
    lr = _lr(20, 38)
    whole = sample_image(tiny_model, lr, 1, 0.8, 3)
    monkeypatch.setattr(tile_size, "available", lambda device: 2 * tile_bytes(TINY, 20 * 32, False))
    assert choose_side(tiny_model, 20, 38, None) == 16
    seen = []
    tiled = sample_image(tiny_model, lr, 1, 0.8, 3, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
    assert (tiled - whole).abs().max() < _GRAY_LEVEL


def test_encoder_alone_is_tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = NCSR(ModelConfig(encoder=EncoderConfig(features=4, growth=2, blocks=1), flow=None), "float32").eval()
    lr = _lr(17, 40)
    assert (sample_image(model, lr, 1, tile=16) - sample_image(model, lr, 1)).abs().max() < _GRAY_LEVEL
    free = 2 * tile_bytes(model.config, 17 * 200, False)
    monkeypatch.setattr(tile_size, "available", lambda device: free)
    assert choose_side(model, 17, 400, None) == 136  # a third, rounded up


@pytest.mark.parametrize("tile", [16, 22])
def test_esrgan_plus_noise_is_that_of_the_whole_image(tile: int) -> None:
    torch.manual_seed(0)
    encoder = EncoderConfig(features=8, growth=4, blocks=1, dense_block="esrgan+")
    model = NCSR(ModelConfig(encoder=encoder, flow=None, temperature=1), "float32").eval()
    lr = _lr(39, 70)  # 280 columns of the enlarged image: more than a block of numbers
    whole = sample_image(model, lr, 2, seed=3)
    assert (whole[0] - whole[1]).abs().max() > 10 * _GRAY_LEVEL
    assert (sample_image(model, lr, 2, seed=3, tile=tile) - whole).abs().max() < _GRAY_LEVEL
    batch = model.space(torch.stack((lr.flip(1), lr))).sample(2, seed=3)[:, 1]
    torch.testing.assert_close(batch, whole, rtol=0, atol=1e-5)


def test_sample_of_a_seed_does_not_depend_on_their_number(tiny_model: NCSR) -> None:
    lr = _lr(18, 20)
    three = sample_image(tiny_model, lr, 3, 0.8, 5)
    torch.testing.assert_close(sample_image(tiny_model, lr, 2, 0.8, 5), three[:2], rtol=0, atol=1e-5)
    assert (sample_image(tiny_model, lr, 1, 0.8, 6) - three[:1]).abs().mean() > 10 * _GRAY_LEVEL


@pytest.mark.parametrize(("tile", "parts"), [(None, 1), (16, 4)])
def test_progress_rises_to_the_total(tiny_model: NCSR, tile: int | None, parts: int) -> None:
    seen: list[tuple[int, int]] = []
    sample_image(tiny_model, _lr(20, 20), 2, 0.8, 0, tile, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 2 * parts)
    assert seen[-1] == (2 * parts, 2 * parts)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


class _Spoiled:
    """`FlowSpace.draw` whose sample 1 is not finite at one tile's origin in the first `failing` attempts."""

    def __init__(self, failing: int) -> None:
        self.failing, self.attempts, self.draw = failing, [0, 0], FlowSpace.draw

    def __call__(
        self, space: FlowSpace, samples: Sequence[int], temperature: float, seed: int, attempt: int = 0
    ) -> Tensor:
        images = self.draw(space, samples, temperature, seed, attempt)
        for place, sample in enumerate(samples):
            self.attempts[sample] = max(attempt, self.attempts[sample])
            if sample == 1 and space.origin == (0, 4) and attempt < self.failing:
                images[place, 0, 0, -1, -1] = float("nan")
        return images


def test_one_bad_tile_redraws_the_whole_sample(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    lr = _lr(18, 24)  # with tiles of 20, windows start at columns 0 and 4
    monkeypatch.setattr(tiling, "OVERLAP", 16)
    good = sample_image(tiny_model, lr, 2, 0.8, 7, 20)
    draw = FlowSpace.draw
    monkeypatch.setattr(FlowSpace, "draw", lambda self, k, t, s, attempt=0: draw(self, k, t, s, attempt + 1))
    second_draw = sample_image(tiny_model, lr, 2, 0.8, 7, 20)
    monkeypatch.setattr(FlowSpace, "draw", draw)
    spoiled = _Spoiled(failing=1)
    monkeypatch.setattr(FlowSpace, "draw", lambda *args: spoiled(*args))
    images = sample_image(tiny_model, lr, 2, 0.8, 7, 20)
    torch.testing.assert_close(images[0], good[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(images[1], second_draw[1], rtol=0, atol=1e-5)
    assert (second_draw[1] - good[1]).abs().mean() > _GRAY_LEVEL
    assert spoiled.attempts == [0, 1]


def test_never_finite_is_an_error(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = _Spoiled(failing=ATTEMPTS)
    monkeypatch.setattr(FlowSpace, "draw", lambda *args: spoiled(*args))
    with pytest.raises(SamplingError, match=r"sample 1 was not finite in 3 draws at temperature 0\.8"):
        sample_image(tiny_model, _lr(18, 24), 2, 0.8, 7, 20)
    assert spoiled.attempts == [0, ATTEMPTS - 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tile": 15}, "at least 16 LR pixels, got 15"),
        ({"n": 0}, "at least 1, got 0"),
        ({"temperature": -0.1}, r"from 0 up, got -0\.1"),
        ({"temperature": float("nan")}, "got nan"),
        ({"seed": -1}, "at least 0, got -1"),
        ({"lr": torch.zeros(3, 3, 8)}, "sides from 4"),
    ],
)
def test_wrong_requests(tiny_model: NCSR, change: dict[str, object], reason: str) -> None:
    request: dict[str, object] = {"lr": _lr(8, 8), "n": 1, "temperature": 0.8, "seed": 0, "tile": None, **change}
    with pytest.raises(InputError, match=reason):
        sample_image(tiny_model, **request)


def test_sample_of_a_seed_does_not_depend_on_number_batch_or_tile(tiny_model: NCSR) -> None:
    """Sample 1 of seed 5, drawn in every way there is."""
    lr = _lr(34, 38)
    sample = tiny_model.space(lr[None]).sample(2, 0.8, seed=5)[1, 0]
    batch = torch.stack((_lr(34, 38).flip(1), lr, lr.flip(2)))
    others = [
        tiny_model.space(lr[None]).sample(5, 0.8, seed=5)[1, 0],
        tiny_model.space(batch).sample(3, 0.8, seed=5)[1, 1],
        tiny_model.space(lr[None]).draw([1], 0.8, 5)[0, 0].clamp(0, 1),
        sample_image(tiny_model, lr, 2, 0.8, 5)[1],
        sample_image(tiny_model, lr, 4, 0.8, 5)[1],
    ]
    for other in others:
        torch.testing.assert_close(other, sample, rtol=0, atol=1e-5)
    for tile in (16, 18, 24, 32):
        assert (sample_image(tiny_model, lr, 2, 0.8, 5, tile)[1] - sample).abs().max() < _GRAY_LEVEL
    assert (sample_image(tiny_model, lr, 1, 0.8, 5)[0] - sample).abs().mean() > 10 * _GRAY_LEVEL
