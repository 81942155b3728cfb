"""Training data: which photographs there are, and that crops and noise follow from (seed, step, index) alone."""

from __future__ import annotations

import hashlib
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncsr.data.crops import crop_batch, mix_noise, random_crop, random_stream
from ncsr.data.listing import PhotoFile
from ncsr.data.loader import Batch, batches
from ncsr.data.noise import draw_noise
from ncsr.data.photos import Photos, open_photos
from ncsr.errors import InputError
from ncsr.images import photo_size, read_photo
from ncsr.ops.resize import imresize
from ncsr.runtime.threads import prefetch_map
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


# crops unlike photographs


def test_a_share_of_the_crops_is_mixed_with_noise() -> None:
    photos = [torch.from_numpy(scene8(40, 48)).permute(2, 0, 1)]
    plain, some, every = (
        crop_batch(photos, size=16, scale=4, count=200, seed=1, step=2, strange=share) for share in (0, 0.25, 1)
    )
    changed = (some.hr != plain.hr).flatten(1).any(1)
    assert 30 < int(changed.sum()) < 70
    assert (every.hr != plain.hr).flatten(1).any(1).all()
    assert torch.equal(some.hr[changed], every.hr[changed])  # which ones are mixed changes nothing else
    stored = (every.hr * 255).round().to(torch.uint8)
    assert torch.equal(every.hr, stored.float() / 255)
    assert torch.equal(every.lr, imresize(stored, 0.25).float() / 255)


def test_noise_that_is_mixed_in_is_coarse_or_fine_and_weak_or_strong() -> None:
    grey, grains, ranges = torch.full((3, 20, 20), 128, dtype=torch.uint8), set(), []
    for i in range(300):
        crop = mix_noise(grey, random_stream(0, 0, i)).int()
        assert crop.shape == (3, 20, 20)
        same = [g for g in (1, 2, 4, 8) if torch.equal(crop[:, :16, :16], _coarse(crop[:, :16, :16], g))]
        grains.add(max(same))
        ranges.append(int(crop.max() - crop.min()))
    assert grains >= {1, 2, 4, 8}
    assert min(ranges) < 10
    assert max(ranges) > 240


def _coarse(crop: Tensor, grain: int) -> Tensor:
    """The crop made of squares, each of the colour of its first pixel."""
    return crop[:, ::grain, ::grain].repeat_interleave(grain, 1).repeat_interleave(grain, 2)


# crops and noise as they have always been


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "step", "digests"),
    [
        (0, 0, ("b90f3f0c0d436fa2", "6cc3723359738d02", "f8cad0f5a5b2fff6", "9c4b18b50bc1e586")),
        (3, 90000, ("f9101b39e03c39b5", "05696e9dd9233b21", "185325224073dd13", "b99d2caed775ec99")),
    ],
)
def test_every_run_so_far_can_be_repeated(seed: int, step: int, digests: tuple[str, ...]) -> None:
    """Digests of what the version that trained the first bundled model made of the same numbers."""
    (batch,) = batches(_photos(), size=16, scale=4, count=6, seed=seed, start=step, stop=step + 1, noise=0.05)
    assert tuple(_digest(values) for values in batch if values is not None) == digests


def test_flips_alone_as_in_the_published_code() -> None:
    photos, turned = _photos(), 0
    for i in range(60):
        crop = random_crop(photos, 6, random_stream(0, 0, i), rotations=False)
        original = random_crop(photos, 6, random_stream(0, 0, i))
        assert any(torch.equal(original, torch.rot90(crop, k, (1, 2))) for k in range(4))
        turned += not torch.equal(crop, original)
        place = crop[0].int() * 256 + crop[1].int()
        assert (place.diff(dim=0) == 24).all()  # upright
        assert (place.diff(dim=1).abs() == 1).all()
    assert turned > 30


# photographs


def _save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def _folder(folder: Path, count: int = 4, side: int = 24) -> Path:
    for i in range(count):
        _save(folder / f"{i}.png", scene8(side, side + 2 * i, seed=i))
    return folder


def _whole(photos: Photos, index: int) -> Tensor:
    return photos[index][:, :, :]


def _complain(sentence: str) -> None:
    raise AssertionError(sentence)


def test_photographs_of_every_kind_and_what_is_left_out(tmp_path: Path) -> None:
    colour = scene8(20, 24)
    _save(tmp_path / "a" / "colour.png", colour)
    _save(tmp_path / "a" / "deep" / "gray.png", colour[..., 0])
    _save(tmp_path / "a" / "small.png", colour[:10])
    (tmp_path / "a" / "text.png").write_text("no photograph")
    _save(tmp_path / "b" / "upright.tif", scene8(32, 16))
    photos, left_out = open_photos([tmp_path / "a", tmp_path / "b"], 16)
    assert [tuple(photos[i].shape) for i in range(len(photos))] == [(3, 20, 24), (3, 20, 24), (3, 32, 16)]
    assert _whole(photos, 0).dtype == torch.uint8
    np.testing.assert_array_equal(_whole(photos, 0).permute(1, 2, 0), colour)
    np.testing.assert_array_equal(_whole(photos, 1), np.broadcast_to(colour[..., 0], (3, 20, 24)))
    assert len(left_out) == 2
    assert any("small.png: 24 x 10 pixels, smaller than the crop of 16" in sentence for sentence in left_out)
    assert any("text.png" in sentence for sentence in left_out)
    again, _ = open_photos([tmp_path / "b", tmp_path / "a", tmp_path / "a"], 16)
    assert [tuple(again[i].shape) for i in range(len(again))] == [(3, 32, 16)] + 4 * [(3, 20, 24)]


_KINDS = [".png", ".jpg", ".webp", ".tif", ".bmp"]


@pytest.mark.parametrize("suffix", _KINDS)
def test_sizes_are_read_from_headers(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / f"photo{suffix}", scene8(20, 24))
    assert photo_size(path) == (20, 24) == read_photo(path).size
    if suffix in (".png", ".jpg", ".webp"):  # whole files of these are not even decoded
        monkeypatch.setattr("ncsr.data.listing.read_photo", None)
    assert len(open_photos([tmp_path], 16)[0]) == 1


@pytest.mark.parametrize("suffix", _KINDS)
def test_files_cut_short_are_left_out_at_once(tmp_path: Path, suffix: str) -> None:
    _folder(tmp_path, 1)
    path = _save(tmp_path / f"photo{suffix}", scene8(40, 48))
    path.write_bytes(path.read_bytes()[:-20])
    photos, left_out = open_photos([tmp_path], 16)
    assert len(photos) == 1
    assert len(left_out) == 1
    assert f"photo{suffix}" in left_out[0]


def test_a_bomb_is_left_out_at_once(tmp_path: Path) -> None:
    _folder(tmp_path, 1)
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "bomb.png").write_bytes(whole[:16] + (30000).to_bytes(4, "big") * 2 + whole[24:])
    assert "30000 x 30000 pixels" in open_photos([tmp_path], 16)[1][0]


def _spoil(path: Path) -> None:
    """Damage a file in its middle, where neither header nor end tells."""
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 40] = bytes(40)
    path.write_bytes(whole)


def test_a_photograph_that_turns_out_broken_ends_no_run(tmp_path: Path) -> None:
    good = _crops(open_photos([_folder(tmp_path)], 16, report=_complain)[0])
    _spoil(tmp_path / "2.png")
    told: list[str] = []
    photos, left_out = open_photos([tmp_path], 16, report=told.append)
    assert (len(photos), left_out) == (4, [])
    crops = _crops(photos)
    assert len(told) == 1
    assert "2.png" in told[0]
    again = open_photos([tmp_path], 16, budget=0, report=told.append)[0]
    again[0], again[3]  # what was asked for before changes nothing
    assert all(torch.equal(a, b) for a, b in zip(crops, _crops(again), strict=True))
    assert len(told) == 2
    same = sum(torch.equal(a, b) for a, b in zip(crops, good, strict=True))
    assert 0.6 * len(crops) < same < 0.9 * len(crops)  # those from other photographs


def _crops(photos: Photos) -> list[Tensor]:
    return [random_crop(photos, 16, random_stream(0, step, 0)) for step in range(100)]


def test_nothing_but_broken_photographs_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        _spoil(_save(tmp_path / f"{i}.png", scene8(24, 24)))
    photos, _ = open_photos([tmp_path], 16)
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"100 photographs in a row cannot be read.*the last: .*png"):
            next(batches(photos, size=16, scale=4, count=1, seed=0, start=0, stop=5, workers=workers))
    assert len(capsys.readouterr().err.splitlines()) == 3  # each is named once, by default on the terminal


def test_decoded_photographs_are_kept_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = PhotoFile.decode
    monkeypatch.setattr(PhotoFile, "decode", lambda file: decoded.append(file.path.stem) or decode(file))
    room = 3 * 24 * (24 + 26) + 10  # for the first two of 24 x 24, 24 x 26, 24 x 28 and 24 x 30
    photos, _ = open_photos([_folder(tmp_path)], 16, budget=room)
    assert decoded == []
    for _ in range(3):
        for index in range(4):
            assert tuple(photos[index].shape) == (3, 24, 24 + 2 * index)
    assert sorted(decoded) == ["0", "1", "2", "2", "2", "3", "3", "3"]


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        open_photos([tmp_path / "missing"], 16)
    with pytest.raises(InputError, match="holds no photographs"):
        open_photos([tmp_path], 16)
    _save(tmp_path / "small.png", scene8(8, 8))
    with pytest.raises(InputError, match=r"no photograph of at least 16 x 16 pixels .*1 left out"):
        open_photos([tmp_path], 16)


# batches


def _batches(photos: object, **changes: object) -> list[Batch]:
    options = {"size": 16, "scale": 4, "count": 4, "seed": 1, "start": 0, "stop": 5, "noise": 0.05}
    return list(batches(photos, **(options | changes)))  # type: ignore[arg-type]


def _assert_equal(one: Batch, other: Batch) -> None:
    for name, a, b in zip(Batch._fields, one, other, strict=True):
        assert (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b)), name


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_do_not_depend_on_workers_and_processes(tmp_path: Path, workers: int, world: int) -> None:
    photos, _ = open_photos([_folder(tmp_path)], 16)
    expected = _batches(photos, dequantise=True)
    shares = [_batches(photos, dequantise=True, rank=r, world=world, workers=workers) for r in range(world)]
    for whole, *parts in zip(expected, *shares, strict=True):
        assert {len(part.hr) for part in parts} == {4 // world}
        _assert_equal(whole, Batch(*(torch.cat(columns) for columns in zip(*parts, strict=True))))  # type: ignore[arg-type]


def test_batches_of_a_resumed_run_are_those_of_one_that_was_not() -> None:
    for a, b in zip(_batches(_photos())[3:], _batches(_photos(), start=3, workers=2), strict=True):
        _assert_equal(a, b)
    assert _batches(_photos(), start=5) == []


def test_noise_and_dequantisation_change_nothing_else() -> None:
    plain, noisy = _batches(_photos(), noise=0.0, stop=1)[0], _batches(_photos(), stop=1)[0]
    assert plain.v is None
    assert plain.std is None
    assert torch.equal(plain.hr, noisy.hr)
    assert torch.equal(plain.lr, noisy.lr)
    (dequantised,) = _batches(_photos(), stop=1, dequantise=True)
    _assert_equal(noisy, dequantised._replace(hr=noisy.hr))
    added = dequantised.hr - noisy.hr
    assert added.abs().max() <= 1 / 64 + 1e-6
    assert added.mean().abs() < 0.001
    assert added.std() == pytest.approx(1 / 32 / 12**0.5, rel=0.05)
    assert len(added.unique()) > 2000


def test_flips_alone_in_batches() -> None:
    hr = torch.cat([batch.hr for batch in _batches(_photos(), rotations=False)])
    place = hr[:, 0] * 255 * 256 + hr[:, 1] * 255
    assert (place.diff(dim=1) > 20).all()


def test_a_batch_that_cannot_be_shared() -> None:
    with pytest.raises(InputError, match="a batch of 4 crops cannot be shared equally by 3 processes"):
        _batches(_photos(), world=3)
    with pytest.raises(InputError, match="cannot be shared"):
        _batches(_photos(), count=0)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_work_ahead_is_in_order_bounded_and_stops(workers: int) -> None:
    started: list[int] = []
    endless = iter(range(10**9))

    def work(item: int) -> int:
        started.append(item)
        return item * item

    results = prefetch_map(work, endless, workers)
    assert list(islice(results, 5)) == [0, 1, 4, 9, 16]
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 5 + 2 * workers
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_work_ahead_passes_errors_on_when_they_are_due() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise InputError("two")
        return item

    results = prefetch_map(work, range(5), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError, match="two"):
        next(results)


# noise


def _streams(count: int, step: int = 0) -> list[np.random.Generator]:
    return [random_stream(0, step, i) for i in range(count)]


def test_noise_is_normal_with_a_uniform_standard_deviation() -> None:
    noise = draw_noise(_streams(200), 16, 24, 0.05)
    assert noise.v.shape == (200, 3, 16, 24)
    assert noise.v.dtype == noise.std.dtype == torch.float32
    assert noise.std.min() >= 0
    assert 0.045 < noise.std.max() <= 0.05
    assert noise.std.mean() == pytest.approx(0.025, abs=0.004)
    assert noise.std.std() == pytest.approx(0.05 / 12**0.5, rel=0.15)
    measured = noise.v.flatten(1).std(1) / noise.std
    torch.testing.assert_close(measured, torch.ones(200), rtol=0, atol=0.1)
    assert noise.v.mean().abs() < 0.001
    unit = (noise.v / noise.std[:, None, None, None]).flatten()
    assert unit.pow(4).mean() == pytest.approx(3, abs=0.1)


def test_noise_does_not_depend_on_the_batch() -> None:
    one, three = draw_noise(_streams(1), 8, 8, 0.05), draw_noise(_streams(3), 8, 8, 0.05)
    assert torch.equal(one.v[0], three.v[0])
    assert not torch.equal(one.v, draw_noise(_streams(1, step=1), 8, 8, 0.05).v)
    assert not draw_noise(_streams(2), 8, 8, 0.0).v.any()
