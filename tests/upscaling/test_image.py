"""Enlarging photographs of every kind, from Python."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import ncsr
from ncsr.images import photo_from_array, premultiplied, source_of, to_array
from ncsr.images.sheet import FULL_WHITE, contact_sheet, deviation_map, shown
from ncsr.metrics import lr_psnr
from ncsr.ops import projection
from ncsr.ops.resize import imresize
from ncsr.upscaling.api import upscale_photo
from ncsr.upscaling.canvas import Canvas
from ncsr.upscaling.image import Enlargement, Scratch, bicubic, deviation, enlarge
from ncsr.upscaling.tiling import SampleRequest, sample_image
from tests.conftest import scene, scene8

_H, _W = 6, 8


def _array(dtype: str, channels: int | None) -> NDArray[np.generic]:
    values = scene(_H, _W, channels or 1)
    if channels is None:
        values = values[..., 0]
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1
    return (values * top).astype(dtype) if top == 1 else (values * top).round().astype(dtype)


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_arrays_come_out_as_they_went_in(tiny_model: ncsr.NCSR, dtype: str, channels: int | None) -> None:
    array = _array(dtype, channels)
    first, second = ncsr.upscale(array, tiny_model, 2, seed=0)
    assert first.shape == (4 * _H, 4 * _W, *array.shape[2:])
    assert first.dtype == array.dtype
    assert not np.array_equal(first, second)
    if dtype == "uint16":
        assert (first % 257 != 0).mean() > 0.2  # all 16 bits are alive
    if channels in (2, 4):
        return  # transparency has tests of its own
    top = np.iinfo(dtype).max if dtype.startswith("u") else 1
    lr = torch.from_numpy(array.reshape(_H, _W, -1).astype(np.float32) / top).expand(-1, -1, 3).permute(2, 0, 1)
    drawn = sample_image(tiny_model, lr, 1, seed=0)[0].permute(1, 2, 0).numpy()
    drawn = drawn if channels == 3 else drawn.mean(2, keepdims=True)
    np.testing.assert_allclose(first.reshape(drawn.shape) / top, drawn, rtol=0, atol=0.51 / top if top > 1 else 1e-6)


def test_gray_stays_gray_and_is_enlarged_as_colour(tiny_model: ncsr.NCSR) -> None:
    gray = scene8(_H, _W, 1)[..., 0]
    colour = np.repeat(gray[..., None], 3, axis=2)
    enlarged = ncsr.upscale(gray, tiny_model, 1, seed=1)[0]
    in_colour = ncsr.upscale(colour, tiny_model, 1, seed=1)[0]
    np.testing.assert_allclose(enlarged, in_colour.astype(float).mean(2), atol=1)
    photo = upscale_photo(photo_from_array(gray), tiny_model, 1, seed=1)[0]
    assert photo.gray
    assert torch.equal(photo.rgb[0], photo.rgb[2])


@pytest.mark.parametrize(
    ("mode", "result"),
    [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("I;16", "I;16"), ("P", "RGB"), ("CMYK", "RGB")],
)
def test_pil_images(tiny_model: ncsr.NCSR, mode: str, result: str) -> None:
    if mode == "I;16":
        image = Image.fromarray((scene(_H, _W, 1)[..., 0] * 65535).astype(np.uint16))
    elif mode in ("P", "CMYK"):
        image = Image.fromarray(scene8(_H, _W)).convert(mode)
    else:
        image = Image.fromarray(scene8(_H, _W, len(mode)).squeeze())
    assert image.mode == mode
    pictures = ncsr.upscale(image, tiny_model, 2, seed=0)
    assert [(p.mode, p.size) for p in pictures] == 2 * [(result, (4 * _W, 4 * _H))]


def test_path_gives_pil_images_with_metadata(tiny_model_folder: Path, tmp_path: Path) -> None:
    photo = Image.fromarray(scene8(_H, _W))
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0112: 6})  # a quarter turn
    photo.save(tmp_path / "photo.jpg", exif=exif, icc_profile=b"a profile")
    picture = ncsr.upscale(tmp_path / "photo.jpg", tiny_model_folder, 1)[0]
    assert isinstance(picture, Image.Image)
    assert picture.size == (4 * _H, 4 * _W)
    assert picture.info["icc_profile"] == b"a profile"
    assert picture.getexif()[0x010F] == "Maker"
    assert picture.getexif()[0x0112] == 1
    assert ncsr.upscale(str(tmp_path / "photo.jpg"), tiny_model_folder, 1)[0].size == picture.size


def test_what_a_photo_carries_is_kept(tiny_model: ncsr.NCSR) -> None:
    photo = photo_from_array((scene(_H, _W, 4) * 65535).astype(np.uint16))
    photo = replace(photo, icc=b"profile", exif=b"II*\0")
    for result in upscale_photo(photo, tiny_model, 2, seed=0):
        assert (result.icc, result.exif, result.bits) == (b"profile", b"II*\0", 16)
        assert not result.gray
        assert result.size == (4 * _H, 4 * _W)


def test_alpha_is_enlarged_by_bicubic_and_hidden_colours_do_not_bleed(tiny_model: ncsr.NCSR) -> None:
    array = scene(12, 12, 4).astype(np.float32)
    array[:, :6, 3] = 0
    photo = photo_from_array(array)
    assert photo.alpha is not None
    results = upscale_photo(photo, tiny_model, 2, seed=0)
    for result in results:
        assert result.alpha is not None
        torch.testing.assert_close(result.alpha, imresize(photo.alpha, 4).clamp(0, 1))
    disguised = replace(photo, rgb=torch.where(photo.alpha > 0, photo.rgb, 1))
    for result, same in zip(results, upscale_photo(disguised, tiny_model, 2, seed=0), strict=True):
        assert torch.equal(result.rgb, same.rgb)
    drawn = sample_image(tiny_model, premultiplied(photo), 1, seed=0)[0]
    opaque = imresize(photo.alpha, 4) > 0.5
    assert results[0].alpha is not None
    expected = (drawn / results[0].alpha).clamp(0, 1)
    torch.testing.assert_close(results[0].rgb[:, opaque[0]], expected[:, opaque[0]])


def test_opaque_alpha_changes_no_colour(tiny_model: ncsr.NCSR) -> None:
    array = scene8(_H, _W)
    opaque = np.dstack([array, np.full((_H, _W), 255, np.uint8)])
    enlarged = ncsr.upscale(opaque, tiny_model, 1, seed=2)[0]
    assert (enlarged[..., 3] == 255).all()
    np.testing.assert_array_equal(enlarged[..., :3], ncsr.upscale(array, tiny_model, 1, seed=2)[0])


def test_seeds(tiny_model: ncsr.NCSR) -> None:
    array = scene8(_H, _W)
    three = ncsr.upscale(array, tiny_model, 3, seed=4)
    for a, b in zip(three, ncsr.upscale(array, tiny_model, 2, seed=4), strict=False):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(three[0], ncsr.upscale(array, tiny_model, 1, seed=5)[0])
    fresh = [ncsr.upscale(array, tiny_model, 1)[0] for _ in range(2)]
    assert not np.array_equal(*fresh)
    smooth = [ncsr.upscale(array, tiny_model, 1, temperature=0, seed=s)[0] for s in (1, 2)]
    np.testing.assert_array_equal(*smooth)


def test_tiles_are_not_seen(tiny_model: ncsr.NCSR) -> None:
    array = scene8(18, 20)
    whole, tiled = (ncsr.upscale(array, tiny_model, 1, seed=0, tile=t)[0].astype(int) for t in (None, 16))
    assert abs(whole - tiled).max() <= 1


def test_smallest_photograph(tiny_model: ncsr.NCSR) -> None:
    assert ncsr.upscale(scene8(4, 5), tiny_model, 1)[0].shape == (16, 20, 3)
    with pytest.raises(ncsr.InputError, match=r"8 x 3 pixels: the smallest that can be enlarged is 4 x 4"):
        ncsr.upscale(scene8(3, 8), tiny_model, 1)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"model": "x4-smal"}, "no model 'x4-smal'"),
        ({"samples": 0}, "at least 1"),
        ({"temperature": -1}, "from 0 up"),
        ({"seed": -1}, "at least 0"),
        ({"tile": 3}, "at least 16"),
        ({"photo": np.zeros((8, 8), bool)}, "uint8, uint16 or floating point"),
        ({"photo": "missing.png"}, "there is no such file"),
    ],
)
def test_wrong_requests(tiny_model: ncsr.NCSR, request_: dict[str, object], reason: str) -> None:
    with pytest.raises(ncsr.InputError, match=reason):
        ncsr.upscale(**{"photo": scene8(8, 8), "model": tiny_model, "samples": 1, **request_})


def test_unknown_device(tiny_model_folder: Path) -> None:
    with pytest.raises(ncsr.InputError, match="no device 'abacus' on this machine"):
        ncsr.upscale(scene8(8, 8), tiny_model_folder, 1, device="abacus")


# pictures for comparison


def test_bicubic_is_the_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.upscaling.image._BICUBIC_TILE", 20)
    photo = photo_from_array(scene(50, 30).astype(np.float32))
    cubic = bicubic(source_of(photo), 4, np.float32).rows(0, 0, 200)
    torch.testing.assert_close(cubic, imresize(photo.rgb, 4).clamp(0, 1), rtol=0, atol=1e-6)


def test_deviation_and_its_map() -> None:
    canvas = Canvas((4, 2, 3, 4), np.uint8)
    for k, level in enumerate([100, 104, 100, 104]):
        canvas.put(k, 0, 0, torch.tensor([level, level, level, 60 * k]).div(255)[:, None, None].expand(-1, 2, 3))
    spread = deviation(canvas)
    torch.testing.assert_close(spread, torch.full((2, 3), 2 / 255))
    picture = deviation_map(spread)
    assert (picture.mode, picture.size) == ("L", (3, 2))
    assert picture.getextrema() == (round(255 * 2 / FULL_WHITE),) * 2
    assert deviation_map(torch.ones(2, 2)).getextrema() == (255, 255)


def test_contact_sheet_shows_all_at_one_size() -> None:
    small, large = Image.new("RGB", (10, 8), "red"), Image.new("L", (40, 32), 0)
    sheet = contact_sheet([("input", small), *[("sample", large)] * 4], columns=4)
    pixels = np.asarray(sheet)
    red = (pixels == (255, 0, 0)).all(2)
    assert red.sum() == 40 * 32
    ys, xs = np.nonzero(red)
    assert (np.ptp(ys), np.ptp(xs)) == (31, 39)
    assert sheet.width < sheet.height * 3  # four in the first row, one in the second
    large_panels = contact_sheet([("a", Image.new("RGB", (2000, 1000)))] * 2)
    assert large_panels.width < 1100


def test_panels_of_unusual_photographs() -> None:
    deep = photo_from_array(np.full((2, 2), 40000, np.uint16))
    assert shown(deep).getpixel((0, 0)) == (40000 // 257,) * 3
    clear = photo_from_array(np.zeros((2, 2, 4), np.uint8))
    assert shown(clear).getpixel((0, 0)) == (255, 255, 255)


# many tiles, interruptions, consistency


def _drawing(n: int = 2, tile: int | None = 16) -> SampleRequest:
    return SampleRequest(n, 0.8, 3, tile)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_scratch_file_holds_what_memory_would(tiny_model: ncsr.NCSR, tmp_path: Path, channels: int, dtype: str) -> None:
    source = source_of(photo_from_array((scene(20, 36, channels) * np.iinfo(dtype).max).astype(dtype)))
    in_memory = enlarge(source, tiny_model, _drawing(), dtype).canvas
    in_file = enlarge(source, tiny_model, _drawing(), dtype, scratch=Scratch(tmp_path / "scratch", "photo")).canvas
    photos = upscale_photo(source.window(0, 0, 20, 36), tiny_model, 2, temperature=0.8, seed=3)
    for k, photo in enumerate(photos):
        np.testing.assert_array_equal(in_file.pixels(k, dtype), in_memory.pixels(k, dtype))
        whole = to_array(photo, dtype, flat_gray=False).astype(int)
        opaque = whole[..., -1:] > 0.1 * np.iinfo(dtype).max if channels in (2, 4) else 1
        assert (abs(in_file.pixels(k, dtype) - whole) * opaque).max() <= (1 if dtype == "uint8" else 300)
    assert sorted(p.name for p in (tmp_path / "scratch").iterdir()) == ["journal.jsonl", "pixels"]


def test_pixels_are_on_the_disk_before_the_journal_says_so(
    tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash of the machine leaves is what was synchronised; this test keeps a copy of that."""
    source, scratch, crashed = source_of(photo_from_array(scene8(20, 36))), tmp_path / "scratch", tmp_path / "crashed"
    fsync, lines = os.fsync, []

    def keep(file: int) -> None:
        fsync(file)
        shutil.copytree(scratch, crashed, dirs_exist_ok=True)
        lines.append(len((crashed / "journal.jsonl").read_text().splitlines()))

    monkeypatch.setattr(os, "fsync", keep)
    how = {"dtype": np.uint8, "consistent": True}
    expected = enlarge(source, tiny_model, _drawing(), scratch=Scratch(scratch, "photo"), **how).canvas
    assert lines == [1, 2, 3, 4, 5, 6, 7, 8]  # six tiles, two projections: each line after its pixels
    shutil.copy(scratch / "journal.jsonl", crashed)  # all lines survive, and of the pixels only what had to
    again = enlarge(source, tiny_model, _drawing(), scratch=Scratch(crashed, "photo"), **how).canvas
    for k in range(2):
        np.testing.assert_array_equal(again.pixels(k, np.uint8), expected.pixels(k, np.uint8))


class _Stop(Exception):
    pass


def test_an_interrupted_enlargement_goes_on(
    tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six tiles; the run stops in the fourth, then while it projects, and the tiles are drawn once each."""
    monkeypatch.setattr(projection, "_STRIP", 1)  # three strips to project
    source, scratch = source_of(photo_from_array(scene8(20, 36))), Scratch(tmp_path / "scratch", "photo")
    expected = enlarge(source, tiny_model, _drawing(), np.uint8, consistent=True)
    drawn: list[tuple[int, int]] = []  # origins
    space = ncsr.NCSR.space
    said: list[str] = []
    seen: list[tuple[int, int]] = []

    def counted(self: ncsr.NCSR, lr: torch.Tensor, *, origin: tuple[int, int] = (0, 0)) -> object:
        if len(drawn) == 3 and not said:
            raise _Stop
        drawn.append(origin)
        return space(self, lr, origin=origin)

    def run() -> Enlargement:
        return enlarge(
            source,
            tiny_model,
            _drawing(),
            np.uint8,
            consistent=True,
            scratch=scratch,
            progress=lambda done, total: seen.append((done, total)),
            say=said.append,
        )

    monkeypatch.setattr(ncsr.NCSR, "space", counted)
    with pytest.raises(_Stop):
        run()
    said.append("stopped")
    seen.clear()
    put, projected = Canvas.put, []

    def stop_in_the_second(self: Canvas, k: int, top: int, left: int, values: torch.Tensor) -> None:
        if values.shape[2] == 4 * 36:  # as wide as no tile: a strip
            projected.append((k, top))
            if len(projected) == 5 and "stopped again" not in said:
                raise _Stop
        put(self, k, top, left, values)

    monkeypatch.setattr(Canvas, "put", stop_in_the_second)
    with pytest.raises(_Stop):
        run()
    assert seen[0] == (6, 12)
    assert seen[-1] == (12, 12)
    assert projected[-1] == (1, 4 * 8)  # the second sample's second strip
    said.append("stopped again")
    result = run()
    assert projected[5] == (1, 0)  # the first sample is finished
    assert len(drawn) == 6
    assert said[1].startswith("going on with what")
    assert result.consistency == expected.consistency
    for k in range(2):
        np.testing.assert_array_equal(result.canvas.pixels(k, np.uint8), expected.canvas.pixels(k, np.uint8))
    drawn.clear()
    (scratch.folder / "pixels").unlink()
    again = run()
    assert len(drawn) == 6  # without the pixels, what the journal says is worth nothing
    np.testing.assert_array_equal(again.canvas.pixels(1, np.uint8), expected.canvas.pixels(1, np.uint8))
    drawn.clear()
    enlarge(source, tiny_model, _drawing()._replace(seed=4), np.uint8, scratch=scratch)
    assert len(drawn) == 6  # another enlargement: nothing of the old one counts


@pytest.mark.parametrize("channels", [None, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_consistent_samples(tiny_model: ncsr.NCSR, dtype: str, channels: int | None) -> None:
    """Their reduction rounds to the photograph; with transparency, that of the colours times alpha does."""
    array = _array(dtype, channels)
    top = np.iinfo(dtype).max if dtype.startswith("u") else 65535
    if channels in (2, 4):
        array[..., -1] = np.maximum(array[..., -1], array[..., -1].max() // 2 if dtype != "float32" else 0.5)
    plain = ncsr.upscale(array, tiny_model, 2, seed=0)
    consistent = ncsr.upscale(array, tiny_model, 2, seed=0, consistent=True)

    def premultiplied(image: NDArray[np.generic]) -> NDArray[np.float64]:
        values = np.atleast_3d(image) / (top if dtype != "float32" else 1)
        return values[..., :-1] * values[..., -1:] if channels in (2, 4) else values

    lr = premultiplied(array)
    for before, after in zip(plain, consistent, strict=True):
        assert after.dtype == array.dtype
        assert after.shape == before.shape
        reduced = imresize(torch.from_numpy(premultiplied(after)).permute(2, 0, 1), 0.25).permute(1, 2, 0).numpy()
        unlike = imresize(torch.from_numpy(premultiplied(before)).permute(2, 0, 1), 0.25).permute(1, 2, 0).numpy()
        assert abs(unlike - lr).mean() > 5 / 255
        assert (abs(reduced - lr) > 0.75 / top).mean() < (0.15 if channels in (2, 4) else 0.03)  # colours end at alpha
        assert abs(premultiplied(after) - premultiplied(before)).mean() < 2 * abs(unlike - lr).mean()


def test_consistency_is_measured(tiny_model: ncsr.NCSR) -> None:
    array = scene8(10, 12)
    source = source_of(photo_from_array(array))
    made = enlarge(source, tiny_model, _drawing(tile=None), np.uint8, consistent=True)
    plain = enlarge(source, tiny_model, _drawing(tile=None), np.uint8).canvas
    for k, (psnr, change) in enumerate(made.consistency):
        pixels = torch.from_numpy(made.canvas.pixels(k, np.uint8)).permute(2, 0, 1)
        assert psnr == pytest.approx(lr_psnr(pixels, torch.from_numpy(array).permute(2, 0, 1)).item())
        assert psnr > 60
        before = plain.rows(k, 0, 40) * 255
        assert change == pytest.approx((pixels - before).abs().mean().item(), rel=0.05)
