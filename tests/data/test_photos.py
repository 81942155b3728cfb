"""The photographs of a run: which there are, which are kept in memory, and what becomes of broken ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ncsr.data.crops import CropSettings, random_crop, random_stream
from ncsr.data.listing import PhotoFile
from ncsr.data.loader import batches
from ncsr.data.photos import Photos, open_photos
from ncsr.errors import InputError
from tests.conftest import scene8
from tests.data.conftest import (
    assert_equal_crops,
    open_all,
    packed_crops,
    photo_folder,
    save_photo,
    spoil,
)


def _whole(photos: Photos, index: int) -> Tensor:
    return photos[index][:, :, :]


def _complain(message: str) -> None:
    raise AssertionError(message)


def test_photographs_of_every_kind_and_what_is_left_out(tmp_path: Path) -> None:
    colour = scene8(20, 24)
    save_photo(tmp_path / "a" / "colour.png", colour)
    save_photo(tmp_path / "a" / "deep" / "gray.png", colour[..., 0])
    save_photo(tmp_path / "a" / "small.png", colour[:10])
    (tmp_path / "a" / "text.png").write_text("no photograph")
    save_photo(tmp_path / "b" / "upright.tif", scene8(32, 16))
    photos, left_out = open_photos([tmp_path / "a", tmp_path / "b"], 16)
    assert [tuple(photos[i].shape) for i in range(len(photos))] == [(3, 20, 24), (3, 20, 24), (3, 32, 16)]
    assert _whole(photos, 0).dtype == torch.uint8
    np.testing.assert_array_equal(_whole(photos, 0).permute(1, 2, 0), colour)
    np.testing.assert_array_equal(_whole(photos, 1), np.broadcast_to(colour[..., 0], (3, 20, 24)))
    assert len(left_out) == 2
    assert any("small.png: 24 x 10 pixels, smaller than 16 x 16" in message for message in left_out)
    assert any("text.png" in message for message in left_out)
    again, _ = open_photos([tmp_path / "b", tmp_path / "a", tmp_path / "a"], 16)
    assert [tuple(again[i].shape) for i in range(len(again))] == [(3, 32, 16)] + 4 * [(3, 20, 24)]


def test_a_photograph_that_turns_out_broken_ends_no_run(tmp_path: Path) -> None:
    good = _crops(open_photos([photo_folder(tmp_path)], 16, warn=_complain)[0])
    spoil(tmp_path / "2.png")
    warnings: list[str] = []
    photos, left_out = open_photos([tmp_path], 16, warn=warnings.append)
    assert (len(photos), left_out) == (4, [])
    crops = _crops(photos)
    assert len(warnings) == 1
    assert "2.png" in warnings[0]
    again = open_photos([tmp_path], 16, budget=0, warn=warnings.append)[0]
    again[0], again[3]  # what was asked for before changes nothing
    assert all(torch.equal(a, b) for a, b in zip(crops, _crops(again), strict=True))
    assert len(warnings) == 2
    same = sum(torch.equal(a, b) for a, b in zip(crops, good, strict=True))
    assert 0.6 * len(crops) < same < 0.9 * len(crops)  # those from other photographs


def _crops(photos: Photos) -> list[Tensor]:
    return [random_crop(photos, CropSettings(crop=16), random_stream(0, step, 0)) for step in range(100)]


def test_a_photograph_that_shrinks_below_the_crop_ends_no_run(tmp_path: Path) -> None:
    warnings: list[str] = []
    photos, _ = open_photos([photo_folder(tmp_path)], 16, budget=0, warn=warnings.append)
    save_photo(tmp_path / "2.png", scene8(8, 12))
    assert len(_crops(photos)) == 100
    assert warnings == [f"{tmp_path / '2.png'} was changed: it had 28 x 24 pixels, now 12 x 8"]


def test_pictures_of_a_run_are_no_photographs(tmp_path: Path) -> None:
    """Of a run in the folder, and of one whose folder is the photographs' own."""
    photo_folder(tmp_path, 1)
    expected = open_photos([tmp_path], 16)[0].fingerprint()
    for run in (tmp_path / "run", tmp_path):
        save_photo(run / "validation" / "step-00000002.png", scene8(24, 24))
        (run / "checkpoints").mkdir()
        (run / "recipe.yaml").touch()
    assert open_photos([tmp_path], 16)[0].fingerprint() == expected
    (tmp_path / "recipe.yaml").unlink()
    assert len(open_photos([tmp_path], 16)[0]) == 2


def test_nothing_but_broken_photographs_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        spoil(save_photo(tmp_path / f"{i}.png", scene8(24, 24)))
    photos, _ = open_photos([tmp_path], 16)
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"100 photographs in a row cannot be read.*the last: .*png"):
            next(batches(photos, CropSettings(crop=16), 4, range(5), [0], workers))
    assert len(capsys.readouterr().err.splitlines()) == 3  # each is named once, by default on the terminal


def test_decoded_photographs_are_kept_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = PhotoFile.decode
    monkeypatch.setattr(PhotoFile, "decode", lambda file: decoded.append(file.path.stem) or decode(file))
    room = 3 * 24 * (24 + 26) + 10  # for the first two of 24 x 24, 24 x 26, 24 x 28 and 24 x 30
    photos, _ = open_photos([photo_folder(tmp_path)], 16, budget=room)
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
    save_photo(tmp_path / "small.png", scene8(8, 8))
    with pytest.raises(InputError, match=r"no photograph of at least 16 x 16 pixels .*1 left out"):
        open_photos([tmp_path], 16)


def test_photographs_that_are_sent_leave_their_memory_behind(folder: Path) -> None:
    photos = open_all(folder)
    expected = packed_crops(photos)
    sent = pickle.dumps(photos)
    assert len(sent) < 2000
    assert_equal_crops(packed_crops(pickle.loads(sent)), expected)
