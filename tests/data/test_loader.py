"""Batches, the same for any number of workers and processes, and the same as they have always been."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr.data.crops import CropSettings, CropSources, random_stream
from ncsr.data.loader import Batch, batches, make_batch
from ncsr.data.noise import draw_noise
from ncsr.data.photos import open_photos
from ncsr.ops.resize import imresize
from tests.conftest import scene8
from tests.data.conftest import photo_folder, place_photos


def test_batch_is_on_the_8_bit_grid_and_lr_is_the_protocols() -> None:
    photos = [torch.from_numpy(scene8(40, 48)).permute(2, 0, 1)]
    hr, lr, v, std = make_batch(photos, CropSettings(crop=16, seed=1), 4, 2, range(3))
    assert v is std is None
    assert hr.shape == (3, 3, 16, 16)
    assert lr.shape == (3, 3, 4, 4)
    stored = (hr * 255).round().to(torch.uint8)
    assert torch.equal(hr, stored.float() / 255)
    assert torch.equal(lr, imresize(stored, 0.25).float() / 255)
    assert not torch.equal(hr[0], hr[1])


def test_crop_does_not_depend_on_the_batch() -> None:
    photos = [torch.from_numpy(scene8(40, 48)).permute(2, 0, 1)]
    one = make_batch(photos, CropSettings(crop=16, seed=1), 4, 2, [0])
    four = make_batch(photos, CropSettings(crop=16, seed=1), 4, 2, range(4))
    assert torch.equal(one.hr[0], four.hr[0])
    for seed, step in ((1, 3), (2, 2)):
        assert not torch.equal(make_batch(photos, CropSettings(crop=16, seed=seed), 4, step, [0]).hr, one.hr)


def test_a_photograph_as_small_as_the_crop() -> None:
    photo = torch.from_numpy(scene8(16, 16)).permute(2, 0, 1)
    hr = make_batch([photo], CropSettings(crop=16), 4, 0, range(2)).hr
    for crop in hr:
        assert torch.equal((crop * 255).flatten().sort()[0], photo.flatten().sort()[0].float())


def test_a_share_of_the_crops_is_mixed_with_noise() -> None:
    photos = [torch.from_numpy(scene8(40, 48)).permute(2, 0, 1)]
    plain, some, every = (
        make_batch(photos, CropSettings(crop=16, seed=1, noise_mix_probability=p), 4, 2, range(200))
        for p in (0, 0.25, 1)
    )
    changed = (some.hr != plain.hr).flatten(1).any(1)
    assert 30 < int(changed.sum()) < 70
    assert (every.hr != plain.hr).flatten(1).any(1).all()
    assert torch.equal(some.hr[changed], every.hr[changed])  # which ones are mixed changes nothing else
    stored = (every.hr * 255).round().to(torch.uint8)
    assert torch.equal(every.hr, stored.float() / 255)
    assert torch.equal(every.lr, imresize(stored, 0.25).float() / 255)


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "step", "digests"),
    [
        (0, 0, ("b90f3f0c0d436fa2", "6cc3723359738d02", "bc13e42f6423fec7", "7d1343c651a5b97b")),
        (3, 90000, ("f9101b39e03c39b5", "05696e9dd9233b21", "9ce49926ca1ba4cf", "0ed6feaaa5acbe52")),
    ],
)
def test_every_run_so_far_can_be_repeated(seed: int, step: int, digests: tuple[str, ...]) -> None:
    """Digests: the crops are those of the version that trained the first bundled model, the noise has other streams."""
    batch = make_batch(place_photos(), CropSettings(crop=16, seed=seed, noise=0.05), 4, step, range(6))
    assert tuple(_digest(values) for values in batch if values is not None) == digests


def _batches(
    photos: CropSources, *, start: int = 0, stop: int = 5, indices: range = range(4), workers: int = 0, **how: Any
) -> list[Batch]:
    settings = CropSettings(crop=16, **({"seed": 1, "noise": 0.05} | how))
    return list(batches(photos, settings, 4, range(start, stop), indices, workers))


def _assert_equal(one: Batch, other: Batch) -> None:
    for name, a, b in zip(Batch._fields, one, other, strict=True):
        assert (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b)), name


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_do_not_depend_on_workers_and_processes(tmp_path: Path, workers: int, world: int) -> None:
    photos, _ = open_photos([photo_folder(tmp_path)], 16)
    expected = _batches(photos, dequantise=True)
    indices = [range(4 // world * rank, 4 // world * (rank + 1)) for rank in range(world)]
    shares = [_batches(photos, dequantise=True, indices=share, workers=workers) for share in indices]
    for whole, *parts in zip(expected, *shares, strict=True):
        assert {len(part.hr) for part in parts} == {4 // world}
        _assert_equal(whole, Batch(*(torch.cat(columns) for columns in zip(*parts, strict=True))))  # type: ignore[arg-type]


def test_batches_of_a_resumed_run_are_those_of_one_that_was_not() -> None:
    for a, b in zip(_batches(place_photos())[3:], _batches(place_photos(), start=3, workers=2), strict=True):
        _assert_equal(a, b)
    assert _batches(place_photos(), start=5) == []


def test_noise_and_dequantisation_change_nothing_else() -> None:
    plain, noisy = _batches(place_photos(), noise=0.0, stop=1)[0], _batches(place_photos(), stop=1)[0]
    assert plain.v is None
    assert plain.std is None
    assert torch.equal(plain.hr, noisy.hr)
    assert torch.equal(plain.lr, noisy.lr)
    (dequantised,) = _batches(place_photos(), stop=1, dequantise=True)
    _assert_equal(noisy, dequantised._replace(hr=noisy.hr))
    added = dequantised.hr - noisy.hr
    assert added.abs().max() <= 1 / 64 + 1e-6
    assert added.mean().abs() < 0.001
    assert added.std() == pytest.approx(1 / 32 / 12**0.5, rel=0.05)
    assert len(added.unique()) > 2000


def test_noise_is_drawn_from_no_stream_of_crops() -> None:
    """Not from those of another seed either: the noise of seed s was once drawn from the crops' streams of s + 1."""
    batch = make_batch(place_photos(), CropSettings(crop=16, seed=1, noise=0.05), 4, 2, [3])
    for seed in range(4):
        assert not torch.equal(draw_noise([random_stream(seed, 2, 3)], 16, 16, 0.05)[0], batch.v)


def test_flips_alone_in_batches() -> None:
    hr = torch.cat([batch.hr for batch in _batches(place_photos(), rotations=False)])
    place = hr[:, 0] * 255 * 256 + hr[:, 1] * 255
    assert (place.diff(dim=1) > 20).all()
