"""Tiles: they cover an image once, nobody sees them, and a sample that is not finite is drawn again as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ncsr import NCSR, EncoderConfig, InputError, ModelConfig, SamplingError
from ncsr import tiles as module
from ncsr.space import ATTEMPTS, FlowSpace
from ncsr.tiles import OVERLAP, choose_side, sample_image, tiles
from tests.conftest import scene

_GRAY_LEVEL = 1 / 255


def _lr(height: int, width: int) -> Tensor:
    return torch.from_numpy(scene(height, width)).permute(2, 0, 1).float()


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
    monkeypatch.setattr(module, "OVERLAP", 0)
    assert (sample_image(tiny_model, lr, 1, 0.8, 3, 16) - whole).abs().max() > 2 * _GRAY_LEVEL


def test_large_images_are_tiled_by_memory(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_side(tiny_model, 40, 61, None) == 62
    lr = _lr(20, 38)
    whole = sample_image(tiny_model, lr, 1, 0.8, 3)
    monkeypatch.setattr(module, "_BUDGET", 20 * 30 * 8 * 2 * 8 * 5)
    assert choose_side(tiny_model, 20, 38, None) == 16
    seen = []
    tiled = sample_image(tiny_model, lr, 1, 0.8, 3, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
    assert (tiled - whole).abs().max() < _GRAY_LEVEL


def test_encoder_alone_is_tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = NCSR(ModelConfig(encoder=EncoderConfig(features=4, growth=2, blocks=1), flow=None)).eval()
    lr = _lr(17, 40)
    assert (sample_image(model, lr, 1, tile=16) - sample_image(model, lr, 1)).abs().max() < _GRAY_LEVEL
    monkeypatch.setattr(module, "_BUDGET", 2**18)
    assert choose_side(model, 17, 400, None) < 400


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
    monkeypatch.setattr(module, "OVERLAP", 16)
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
