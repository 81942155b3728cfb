"""Training crops and training noise: what they are, and that they follow from (seed, step, index) alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ncsr.data.crops import crop_batch, load_photos, random_crop, random_stream
from ncsr.errors import InputError
from ncsr.noise import draw_noise
from ncsr.resize import imresize
from tests.conftest import scene8


def _photos() -> list[torch.Tensor]:
    """Two photographs in which every pixel tells its place."""
    place = torch.arange(20 * 24, dtype=torch.int32).reshape(20, 24)
    return [torch.stack([place // 256, place % 256, torch.full_like(place, i)]).to(torch.uint8) for i in range(2)]


def test_random_streams_are_reproducible_and_differ() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    first = [random_stream(*key).random() for key in keys]
    assert first == [random_stream(*key).random() for key in keys]
    assert len(set(first)) == len(keys)


def test_crops_come_from_everywhere_in_all_orientations() -> None:
    photos = _photos()
    places, orientations, sources = set(), set(), set()
    for i in range(600):
        crop = random_crop(photos, 6, random_stream(0, 0, i)).int()
        assert crop.shape == (3, 6, 6)
        place = crop[0] * 256 + crop[1]
        top, left = divmod(int(place.min()), 24)
        source = int(crop[2, 0, 0])
        original = photos[source][:, top : top + 6, left : left + 6].int()
        turned = [torch.rot90(flipped, k, (1, 2)) for flipped in (original, original.flip(2)) for k in range(4)]
        orientation = [k for k, image in enumerate(turned) if torch.equal(crop, image)]
        assert len(orientation) == 1
        orientations.add(orientation[0])
        places.add((top, left))
        sources.add(source)
    assert orientations == set(range(8))
    assert sources == {0, 1}
    assert {top for top, _ in places} == set(range(15))
    assert {left for _, left in places} == set(range(19))


def test_batch_is_on_the_8_bit_grid_and_lr_is_the_protocols() -> None:
    photos = [torch.from_numpy(scene8(40, 48)).permute(2, 0, 1)]
    hr, lr = crop_batch(photos, size=16, scale=4, count=3, seed=1, step=2)
    assert hr.shape == (3, 3, 16, 16)
    assert lr.shape == (3, 3, 4, 4)
    stored = (hr * 255).round().to(torch.uint8)
    assert torch.equal(hr, stored.float() / 255)
    assert torch.equal(lr, imresize(stored, 0.25).float() / 255)
    assert not torch.equal(hr[0], hr[1])


def test_crop_does_not_depend_on_the_batch() -> None:
    photos = [torch.from_numpy(scene8(40, 48)).permute(2, 0, 1)]
    one = crop_batch(photos, size=16, scale=4, count=1, seed=1, step=2)
    four = crop_batch(photos, size=16, scale=4, count=4, seed=1, step=2)
    assert torch.equal(one.hr[0], four.hr[0])
    for seed, step in ((1, 3), (2, 2)):
        assert not torch.equal(crop_batch(photos, size=16, scale=4, count=1, seed=seed, step=step).hr, one.hr)


def test_a_photograph_as_small_as_the_crop() -> None:
    photo = torch.from_numpy(scene8(16, 16)).permute(2, 0, 1)
    hr = crop_batch([photo], size=16, scale=4, count=2, seed=0, step=0).hr
    for crop in hr:
        assert torch.equal((crop * 255).flatten().sort()[0], photo.flatten().sort()[0].float())


def test_load_photos_of_every_kind_and_names_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    colour = scene8(20, 24)
    Image.fromarray(colour).save(tmp_path / "a" / "colour.png")
    Image.fromarray(colour[..., 0]).save(tmp_path / "a" / "deep" / "gray.png")
    Image.fromarray(colour[:10]).save(tmp_path / "a" / "small.png")
    (tmp_path / "a" / "text.png").write_text("no photograph")
    Image.fromarray(scene8(32, 16)).save(tmp_path / "b" / "upright.tif")
    photos, left_out = load_photos([tmp_path / "a", tmp_path / "b"], 16)
    assert [tuple(photo.shape) for photo in photos] == [(3, 20, 24), (3, 20, 24), (3, 32, 16)]
    assert {photo.dtype for photo in photos} == {torch.uint8}
    np.testing.assert_array_equal(photos[0].permute(1, 2, 0), colour)
    np.testing.assert_array_equal(photos[1], np.broadcast_to(colour[..., 0], (3, 20, 24)))
    assert len(left_out) == 2
    assert "small.png: 24 x 10 pixels, smaller than the crop of 16" in left_out[0]
    assert "text.png" in left_out[1]


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_photos([tmp_path / "missing"], 16)
    with pytest.raises(InputError, match="holds no photographs"):
        load_photos([tmp_path], 16)
    Image.fromarray(scene8(8, 8)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"no photograph of at least 16 x 16 pixels .*1 left out"):
        load_photos([tmp_path], 16)


def _streams(count: int, step: int = 0) -> list[np.random.Generator]:
    return [random_stream(0, step, i) for i in range(count)]


def test_noise_is_normal_with_a_uniform_standard_deviation() -> None:
    noise = draw_noise(_streams(200), 16, 24, 4, 0.05)
    assert noise.hr.shape == (200, 3, 16, 24)
    assert noise.hr.dtype == noise.lr.dtype == noise.std.dtype == torch.float32
    assert noise.std.min() >= 0
    assert 0.045 < noise.std.max() <= 0.05
    assert noise.std.mean() == pytest.approx(0.025, abs=0.004)
    assert noise.std.std() == pytest.approx(0.05 / 12**0.5, rel=0.15)
    measured = noise.hr.flatten(1).std(1) / noise.std
    torch.testing.assert_close(measured, torch.ones(200), rtol=0, atol=0.1)
    assert noise.hr.mean().abs() < 0.001
    unit = (noise.hr / noise.std[:, None, None, None]).flatten()
    assert unit.pow(4).mean() == pytest.approx(3, abs=0.1)


def test_lr_noise_is_the_reduced_hr_noise() -> None:
    noise = draw_noise(_streams(2), 16, 24, 4, 0.05)
    assert torch.equal(noise.lr, imresize(noise.hr, 0.25))
    assert noise.lr.shape == (2, 3, 4, 6)


def test_noise_does_not_depend_on_the_batch() -> None:
    one, three = draw_noise(_streams(1), 8, 8, 4, 0.05), draw_noise(_streams(3), 8, 8, 4, 0.05)
    assert torch.equal(one.hr[0], three.hr[0])
    assert not torch.equal(one.hr, draw_noise(_streams(1, step=1), 8, 8, 4, 0.05).hr)
    silent = draw_noise(_streams(2), 8, 8, 4, 0.0)
    assert not silent.hr.any()
    assert not silent.lr.any()
