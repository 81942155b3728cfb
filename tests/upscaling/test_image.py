"""Enlarging photographs of one size: batches, scratch folders, interruptions, and pictures for comparison."""

from __future__ import annotations

import errno
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import ncsr
from ncsr.images import photo_from_array, source_of, to_array
from ncsr.ops.resize import imresize
from ncsr.runtime.memory import Limit
from ncsr.upscaling.api import upscale_photo
from ncsr.upscaling.canvas import Canvas, canvas_from_rows
from ncsr.upscaling.image import bicubic, deviation, enlarge
from ncsr.upscaling.resume_log import Scratch
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import scene, scene8

# pictures for comparison


def test_bicubic_is_the_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.upscaling.image._BICUBIC_TILE", 20)
    photo = photo_from_array(scene(50, 30).astype(np.float32))
    cubic = bicubic(source_of(photo), 4, np.float32).rows(0)(0, 200)
    torch.testing.assert_close(cubic, imresize(photo.rgb, 4).clamp(0, 1), rtol=0, atol=1e-6)


def test_deviation() -> None:
    canvas = Canvas((4, 2, 3, 4), np.uint8)
    for k, level in enumerate([100, 104, 100, 104]):
        canvas.put(k, 0, 0, torch.tensor([level, level, level, 60 * k]).div(255)[:, None, None].expand(-1, 2, 3))
    spread = deviation([partial(canvas.rows, k) for k in range(4)], (2, 3, 4))
    torch.testing.assert_close(spread, torch.full((2, 3), 2 / 255))


# batches


@pytest.mark.parametrize("consistent", [False, True])
def test_a_batch_of_unlike_photographs(tiny_model: ncsr.NCSR, consistent: bool) -> None:
    arrays = [
        scene8(7, 9, seed=0),
        scene8(7, 9, 4, seed=1),
        scene8(7, 9, 1, seed=2)[..., 0],
        (scene(7, 9, seed=3) * 65535).astype(np.uint16),
    ]
    sources = [source_of(photo_from_array(array)) for array in arrays]
    dtypes = [np.uint16 if source.bits == 16 else np.uint8 for source in sources]
    request = SampleRequest(2, 0.8, 5, consistent=consistent)
    made = enlarge(sources, tiny_model, request, 16, dtypes)
    for source, dtype, in_batch in zip(sources, dtypes, made, strict=True):
        (alone,) = enlarge([source], tiny_model, request, 16, [dtype])
        assert in_batch.canvas.shape == alone.canvas.shape
        for k in range(2):
            a, b = (result.rows(k)(0, 28) for result in (in_batch, alone))
            assert torch.equal(a, b)


# many tiles, interruptions, consistency


def _request() -> SampleRequest:
    return SampleRequest(2, 0.8, 3, 16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_scratch_file_holds_what_memory_would(tiny_model: ncsr.NCSR, tmp_path: Path, channels: int, dtype: str) -> None:
    source = source_of(photo_from_array((scene(20, 36, channels) * np.iinfo(dtype).max).astype(dtype)))
    scratch = Scratch(tmp_path / "scratch", "photo")
    (in_memory,) = enlarge([source], tiny_model, _request(), 16, [dtype])
    (in_file,) = enlarge([source], tiny_model, _request(), 16, [dtype], scratch=scratch)
    photos = upscale_photo(source.window(0, 0, 20, 36), tiny_model, SampleRequest(2, 0.8, 3))
    for k, photo in enumerate(photos):
        np.testing.assert_array_equal(in_file.canvas.pixels(k), in_memory.canvas.pixels(k))
        whole = to_array(photo, dtype, flat_gray=False).astype(int)
        opaque = whole[..., -1:] > 0.1 * np.iinfo(dtype).max if channels in (2, 4) else 1
        assert (abs(in_file.canvas.pixels(k) - whole) * opaque).max() <= (1 if dtype == "uint8" else 300)
    assert sorted(p.name for p in scratch.folder.iterdir()) == ["journal.jsonl", "pixels"]


def test_pixels_are_on_the_disk_before_the_log_says_so(
    tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash of the machine leaves is what was synchronised; this test keeps a copy of that."""
    source, scratch, crashed = source_of(photo_from_array(scene8(20, 36))), tmp_path / "scratch", tmp_path / "crashed"
    fsync, lines = os.fsync, []

    def keep(file: int) -> None:
        fsync(file)
        shutil.copytree(scratch, crashed, dirs_exist_ok=True)
        lines.append(len((crashed / "journal.jsonl").read_text().splitlines()))

    def run(folder: Path) -> Canvas:
        return enlarge([source], tiny_model, _request(), 16, [np.uint8], scratch=Scratch(folder, "photo"))[0].canvas

    monkeypatch.setattr(os, "fsync", keep)
    expected = run(scratch)
    assert lines == [1, 2, 3, 4, 5, 6]  # six tiles: each line after its pixels
    shutil.copy(scratch / "journal.jsonl", crashed)  # all lines survive, and of the pixels only what had to
    again = run(crashed)
    for k in range(2):
        np.testing.assert_array_equal(again.pixels(k), expected.pixels(k))


class _Stop(Exception):
    pass


def test_an_interrupted_enlargement_goes_on(
    tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six tiles; the run stops in the fourth, then while a sample is projected, and the tiles are drawn once each."""
    monkeypatch.setattr("ncsr.ops.projection._STRIP", 1)  # ten strips of 8 rows to project
    source, scratch = source_of(photo_from_array(scene8(20, 36))), Scratch(tmp_path / "scratch", "photo")
    drawn: list[tuple[int, int]] = []  # origins
    space, put = ncsr.NCSR.space, Canvas.put
    warnings: list[str] = []
    seen: list[tuple[int, int]] = []
    projected: list[int] = []

    def run(**how: Any) -> list[NDArray[Any]]:
        (made,) = enlarge(
            [source],
            tiny_model,
            _request()._replace(consistent=True),
            16,
            [np.uint8],
            progress=lambda done, total: seen.append((done, total)),
            warn=warnings.append,
            **how,
        )
        return [canvas_from_rows(made.rows(k), (80, 144, 3), np.uint8).pixels(0) for k in range(2)]

    expected = run()

    def stop_at_the_fourth(self: ncsr.NCSR, lr: torch.Tensor, *, origin: tuple[int, int] = (0, 0)) -> object:
        if len(drawn) == 3:
            raise _Stop
        drawn.append(origin)
        return space(self, lr, origin=origin)

    monkeypatch.setattr(ncsr.NCSR, "space", stop_at_the_fourth)
    with pytest.raises(_Stop):
        run(scratch=scratch)
    assert warnings == []

    def counted(self: ncsr.NCSR, lr: torch.Tensor, *, origin: tuple[int, int] = (0, 0)) -> object:
        drawn.append(origin)
        return space(self, lr, origin=origin)

    def stop_in_the_second(self: Canvas, k: int, top: int, left: int, values: torch.Tensor) -> None:
        if values.shape[2] == 4 * 36:  # as wide as no tile: a strip
            projected.append(top)
            if len(projected) == 12:
                raise _Stop
        put(self, k, top, left, values)

    monkeypatch.setattr(ncsr.NCSR, "space", counted)
    seen.clear()
    monkeypatch.setattr(Canvas, "put", stop_in_the_second)
    with pytest.raises(_Stop):
        run(scratch=scratch)
    monkeypatch.setattr(Canvas, "put", put)
    assert (seen[0], seen[-1]) == ((6, 12), (12, 12))
    assert projected[-2:] == [0, 8]  # the second sample's second strip
    result = run(scratch=scratch)
    assert len(drawn) == 6
    assert all(warning.startswith("going on with what") for warning in warnings)
    np.testing.assert_array_equal(result, expected)
    drawn.clear()
    (scratch.folder / "pixels").unlink()
    np.testing.assert_array_equal(run(scratch=scratch), expected)
    assert len(drawn) == 6  # without the pixels, what the log says is worth nothing
    drawn.clear()
    enlarge([source], tiny_model, _request()._replace(seed=4), 16, [np.uint8], scratch=scratch)
    assert len(drawn) == 6  # another enlargement: nothing of the old one counts


# memory that runs out


def _hungry(monkeypatch: pytest.MonkeyPatch, limit: int, error: Exception) -> list[int]:
    """Make windows of more LR pixels than `limit` run out of memory; returns where tried windows are counted."""
    space, tried = ncsr.NCSR.space, []

    def hungry(self: ncsr.NCSR, lr: torch.Tensor, *, origin: tuple[int, int] = (0, 0)) -> object:
        tried.append(lr[0, 0].numel())
        if tried[-1] > limit:
            raise error
        return space(self, lr, origin=origin)

    monkeypatch.setattr(ncsr.NCSR, "space", hungry)
    return tried


def _enlarged(model: ncsr.NCSR, height: int, side: int, tile: int | None = None, **how: Any) -> NDArray[np.float32]:
    source = source_of(photo_from_array(scene8(height, 64)))
    (made,) = enlarge([source], model, SampleRequest(2, 0.8, 3, tile), side, [np.float32], **how)
    return np.stack([made.pixels(k, made.rows(k))[0] for k in range(2)])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_tiles_are_halved_when_memory_runs_out(
    tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = _enlarged(tiny_model, 60, 64)
    tried = _hungry(monkeypatch, 50 * 50, error)
    said: list[str] = []
    assert abs(_enlarged(tiny_model, 60, 64, warn=said.append) - whole).max() < 0.03 / 255
    assert said == ["memory ran out: going on with tiles of 32 LR pixels"]
    assert tried[0] == 60 * 64
    assert max(tried[1:]) == 48 * 48


def test_tiles_are_halved_when_there_is_no_memory_to_keep_one(
    tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Canvas.put

    def fail(self: Canvas, k: int, top: int, left: int, values: torch.Tensor) -> None:
        if values.shape[1] > 4 * 32:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        put(self, k, top, left, values)

    whole = _enlarged(tiny_model, 60, 64)
    monkeypatch.setattr(Canvas, "put", fail)
    assert abs(_enlarged(tiny_model, 60, 64) - whole).max() < 0.03 / 255


def test_an_explicit_tile_is_obeyed_and_the_smallest_is_the_end(
    tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Limit(2**20, " under `ulimit -v`", "raise it")
    monkeypatch.setattr("ncsr.upscaling.tile_size.tightest", lambda device: limit)
    _hungry(monkeypatch, 40 * 40, MemoryError())
    reason = (
        r"not enough memory for tiles of 32 LR pixels: about \d+ MiB are needed, \d+ MiB are free under `ulimit -v`; "
    )
    with pytest.raises(ncsr.InputError, match=reason + "raise it or choose a smaller --tile than 32"):
        _enlarged(tiny_model, 60, 32, tile=32)
    _hungry(monkeypatch, 4, MemoryError())
    with pytest.raises(ncsr.InputError, match=r"tiles of 16 LR pixels: .*; raise it or take a smaller model"):
        _enlarged(tiny_model, 60, 64)


def test_other_errors_are_not_taken_for_memory(tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    _hungry(monkeypatch, 4, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        _enlarged(tiny_model, 20, 64)
