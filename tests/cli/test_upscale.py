"""`ncsr upscale` as people use it: what is written, what is printed, and one sentence for whatever is wrong."""

from __future__ import annotations

import hashlib
import inspect
import io
import itertools
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

import ncsr
from ncsr.images import read_photo, write_pixels
from ncsr.metrics import lr_psnr
from ncsr.ops.resize import imresize
from ncsr.space.flow_space import FlowSpace
from tests.conftest import TINY, Command, process_environment, run_process, scene, scene8

_H, _W = 6, 8


@pytest.fixture
def upscale(ncsr_: Command, tiny_model_folder: Path) -> Command:
    """Runs `ncsr upscale` with the tiny model."""
    return lambda *arguments: ncsr_("upscale", "-m", tiny_model_folder, *arguments)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return _save(tmp_path / "photo.png")


def _save(path: Path, seed: int = 0, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene8(_H, _W, seed=seed)).save(path, **how)
    return path


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def _pixels(path: Path) -> NDArray[Any]:
    return np.asarray(Image.open(path)).astype(int)


# what is written where


def test_samples_are_named_and_printed(upscale: Command, photo: Path, tmp_path: Path) -> None:
    result = upscale(photo, "-o", tmp_path / "out", "-n", 3, "--seed", 0)
    assert (result.code, result.err) == (0, "")
    assert result.paths == [tmp_path / "out" / f"photo_s{k}.png" for k in range(3)]
    assert _names(tmp_path / "out") == ["photo_s0.png", "photo_s1.png", "photo_s2.png"]
    pictures = [_pixels(path) for path in result.paths]
    assert {picture.shape for picture in pictures} == {(4 * _H, 4 * _W, 3)}
    assert abs(pictures[0] - pictures[1]).mean() > 5


def test_four_samples_unless_told_otherwise_and_the_seed_is_printed(
    upscale: Command, photo: Path, tmp_path: Path
) -> None:
    result = upscale(photo, "-o", tmp_path / "deep" / "out")
    assert _names(tmp_path / "deep" / "out") == [f"photo_s{k}.png" for k in range(4)]
    assert result.code == 0
    seed = re.fullmatch(r"seed (\d+)\n", result.err)
    assert seed
    upscale(photo, "-o", tmp_path / "again", "-n", 1, "--seed", seed[1])
    assert (tmp_path / "again/photo.png").read_bytes() == (tmp_path / "deep/out/photo_s0.png").read_bytes()


def test_the_seed_of_a_single_sample_is_printed(upscale: Command, photo: Path, tmp_path: Path) -> None:
    result = upscale(photo, "-o", tmp_path / "out", "-n", 1)
    seed = re.fullmatch(r"seed (\d+)\n", result.err)
    assert seed
    upscale(photo, "-o", tmp_path / "again", "-n", 1, "--seed", seed[1])
    assert (tmp_path / "again/photo.png").read_bytes() == (tmp_path / "out/photo.png").read_bytes()
    assert upscale(photo, "-o", tmp_path / "smooth", "-t", 0).err == ""


@pytest.mark.parametrize("how", [("-n", 1), ("-t", 0), ("-t", 0, "-n", 3)])
def test_one_image_keeps_its_name(upscale: Command, photo: Path, tmp_path: Path, how: Sequence[object]) -> None:
    result = upscale(photo, "-o", tmp_path / "out", *how)
    assert result.code == 0
    assert result.paths == [tmp_path / "out" / "photo.png"]
    assert _names(tmp_path / "out") == ["photo.png"]


def test_output_may_be_a_file_and_tells_the_format(upscale: Command, photo: Path, tmp_path: Path) -> None:
    upscale(photo, "-o", tmp_path / "new" / "big.webp", "-t", 0)
    assert Image.open(tmp_path / "new" / "big.webp").format == "WEBP"
    result = upscale(photo, "-o", tmp_path / "big.jpg", "-n", 2, "--std", "--sheet")
    assert [path.name for path in result.paths] == ["big_s0.jpg", "big_s1.jpg", "big_std.png", "big_sheet.png"]
    assert Image.open(tmp_path / "big_s0.jpg").format == "JPEG"


def test_folder_named_like_a_photograph(upscale: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    assert upscale(photo, "-o", tmp_path / "out.png", "-n", 1).paths == [tmp_path / "out.png" / "photo.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".tif", ".TIFF", ".bmp", ".png"])
def test_format_follows_the_input(upscale: Command, tmp_path: Path, suffix: str) -> None:
    source = _save(tmp_path / f"photo{suffix}")
    result = upscale(source, "-o", tmp_path / "out", "-t", 0)
    assert result.paths == [tmp_path / "out" / f"photo{suffix}"]
    assert Image.open(result.paths[0]).format == Image.open(source).format


def test_files_and_folders_together(upscale: Command, tmp_path: Path) -> None:
    _save(tmp_path / "folder" / "b.png", seed=1)
    _save(tmp_path / "folder" / "a.jpg", seed=2)
    _save(tmp_path / "folder" / "inner" / "c.png")
    (tmp_path / "folder" / "notes.txt").write_text("not a photograph")
    single = _save(tmp_path / "single.tif")
    result = upscale(
        single, tmp_path / "folder", tmp_path / "folder" / "b.png", "-o", tmp_path / "out", "-n", 1, "--seed", 0
    )
    assert (result.code, result.err) == (
        0,
        f"ncsr: {tmp_path / 'folder'}: left out the folder inside (-r looks into it)\n",
    )
    assert [path.name for path in result.paths] == ["single.tif", "a.jpg", "b.png"]
    assert _names(tmp_path / "out") == ["a.jpg", "b.png", "single.tif"]


def test_sheet_and_deviation_map(upscale: Command, photo: Path, tmp_path: Path) -> None:
    result = upscale(photo, "-o", tmp_path / "out", "-n", 2, "--sheet", "--std", "--seed", 0)
    names = ["photo_s0.png", "photo_s1.png", "photo_std.png", "photo_sheet.png"]
    assert [path.name for path in result.paths] == names
    assert _names(tmp_path / "out") == sorted(names)
    samples = [_pixels(path) for path in result.paths[:2]]
    spread = Image.open(result.paths[2])
    assert (spread.mode, spread.size) == ("L", (4 * _W, 4 * _H))
    expected = np.std(samples, axis=0).mean(2) * 255 / 32
    np.testing.assert_allclose(np.asarray(spread), np.clip(expected, 0, 255), atol=5)
    sheet = Image.open(result.paths[3])
    assert sheet.mode == "RGB"
    assert sheet.width > 4 * 4 * _W  # six panels: input, bicubic, temperature 0, two samples, map
    assert sheet.height > 2 * 4 * _H


def test_sheet_holds_every_panel(
    upscale: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[list[tuple[str, Image.Image]]] = []
    module = sys.modules["ncsr.upscaling.pipeline"]
    monkeypatch.setattr(module, "contact_sheet", lambda panels: sheets.append(panels) or Image.new("L", (1, 1)))
    upscale(photo, "-o", tmp_path / "out", "-n", 2, "-t", 0.5, "--sheet", "--seed", 0)
    upscale(photo, "-o", tmp_path / "smooth", "-t", 0, "--sheet")
    labels = ["input", "bicubic", "temperature 0"]
    drawn = ["sample 0, temperature 0.5", "sample 1, temperature 0.5", "standard deviation"]
    assert [label for label, _ in sheets[0]] == labels + drawn
    assert [label for label, _ in sheets[1]] == labels
    panels = {label: np.asarray(panel).astype(int) for label, panel in sheets[0]}
    np.testing.assert_array_equal(panels["input"], _pixels(photo))
    np.testing.assert_array_equal(panels["temperature 0"], _pixels(tmp_path / "smooth" / "photo.png"))
    np.testing.assert_array_equal(panels["sample 1, temperature 0.5"], _pixels(tmp_path / "out" / "photo_s1.png"))
    cubic = imresize(read_photo(photo).rgb, 4).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(panels["bicubic"], cubic, atol=0.51)


def test_same_seed_same_bytes(upscale: Command, photo: Path, tmp_path: Path) -> None:
    for out, seed, n in (("a", 7, 2), ("b", 7, 2), ("other", 8, 2)):
        upscale(photo, "-o", tmp_path / out, "-n", n, "--seed", seed, "--sheet")
    for name in _names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_temperature(upscale: Command, photo: Path, tmp_path: Path) -> None:
    spreads = []
    for t in (0.2, 0.4, None):
        how = () if t is None else ("-t", t)
        paths = upscale(photo, "-o", tmp_path / str(t), "-n", 2, "--seed", 0, *how).paths
        spreads.append(np.std([_pixels(path) for path in paths], axis=0).mean())
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.7 * spreads[1]
    upscale(photo, "-o", tmp_path / "own", "-n", 2, "--seed", 0, "-t", TINY.temperature)
    assert (tmp_path / "own/photo_s1.png").read_bytes() == (tmp_path / "None/photo_s1.png").read_bytes()


def test_tiles_scale_precision_and_device(upscale: Command, tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    Image.fromarray(scene8(18, 20)).save(source)
    plain = upscale(source, "-o", tmp_path / "plain", "-n", 1, "--seed", 0, "-s", 4, "--device", "cpu").paths[0]
    tiled = upscale(source, "-o", tmp_path / "tiled", "-n", 1, "--seed", 0, "--tile", 16).paths[0]
    assert abs(_pixels(plain) - _pixels(tiled)).max() <= 1
    low, exact = (
        upscale(source, "-o", tmp_path / name, "-n", 1, "--seed", 0, "--precision", name).paths[0]
        for name in ("bfloat16", "float32")
    )
    assert 0 < abs(_pixels(exact) - _pixels(low)).mean() < 3
    assert (plain.read_bytes() == low.read_bytes()) != (plain.read_bytes() == exact.read_bytes())  # auto is one of them


def test_metadata_is_kept_or_stripped(upscale: Command, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0112: 6})
    source = _save(tmp_path / "photo.jpg", exif=exif, icc_profile=b"a profile")
    kept = Image.open(upscale(source, "-o", tmp_path / "kept", "-n", 1).paths[0])
    assert kept.size == (4 * _H, 4 * _W)  # turned upright
    assert kept.info["icc_profile"] == b"a profile"
    assert kept.getexif()[0x010F] == "Maker"
    assert kept.getexif()[0x0112] == 1
    stripped = Image.open(upscale(source, "-o", tmp_path / "stripped", "-n", 1, "--strip").paths[0])
    assert stripped.size == kept.size
    assert "icc_profile" not in stripped.info
    assert not stripped.getexif()


def test_every_image_says_where_it_comes_from(upscale: Command, photo: Path, tmp_path: Path) -> None:
    how = (photo, "-n", 2, "--seed", 5, "-t", 0.5, "--std", "--sheet", "--skip-existing", "-o", tmp_path / "out")
    plain = upscale(*how)
    result = upscale(*how, "--sidecar")  # makes them again: there were no sidecars
    assert [path.name for path in result.paths[4:]] == [f"{path.name}.json" for path in plain.paths]
    origins = [ncsr.provenance(path) for path in plain.paths]
    assert [origin.picture for origin in origins if origin] == 2 * ["sample"] + ["standard deviation", "contact sheet"]
    assert [origin.samples for origin in origins if origin] == [[0], [1], [0, 1], [0, 1]]
    for origin, sidecar in zip(origins, result.paths[4:], strict=True):
        assert origin is not None
        assert (origin.model, origin.seed, origin.temperature, origin.tile) == ("tiny", 5, 0.5, None)
        assert origin.photograph == hashlib.sha256(photo.read_bytes()).hexdigest()
        assert sidecar.read_text() == origin.record() + "\n"
    assert upscale(*how, "--sidecar").paths == []
    result.paths[-1].unlink()
    assert upscale(*how, "--sidecar").paths == result.paths
    silent, sidecar = upscale(photo, "-t", 0, "--strip", "--sidecar", "-o", tmp_path / "stripped").paths
    assert "xmp" not in Image.open(silent).info
    smooth = ncsr.provenance(sidecar)
    assert smooth is not None
    assert (smooth.picture, smooth.seed) == ("most probable image", None)
    tiled = ncsr.provenance(upscale(_save(tmp_path / "w.png"), "-n", 1, "--tile", 16, "-o", tmp_path / "w").paths[0])
    assert tiled is not None
    assert tiled.tile is None  # one tile


def test_16_bit_gray_and_transparency_come_out_as_they_went_in(upscale: Command, tmp_path: Path) -> None:
    deep = (scene(_H, _W) * 65535).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    Image.fromarray(scene8(_H, _W, 1)[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(scene8(_H, _W, 4)).save(tmp_path / "clear.webp", lossless=True)
    sources = [tmp_path / name for name in ("deep.png", "gray.png", "clear.webp")]
    result = upscale(*sources, "-o", tmp_path / "out", "-n", 1)
    assert result.code == 0
    out = imagecodecs.png_decode(result.paths[0].read_bytes())
    assert (out.dtype, out.shape) == (np.uint16, (4 * _H, 4 * _W, 3))
    assert (out % 257 != 0).mean() > 0.3
    assert Image.open(result.paths[1]).mode == "L"
    assert Image.open(result.paths[2]).mode == "RGBA"


def test_existing_results_are_replaced(upscale: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.png").write_text("old")
    assert upscale(photo, "-o", tmp_path / "out", "-n", 1).code == 0
    assert _pixels(tmp_path / "out" / "photo.png").shape == (4 * _H, 4 * _W, 3)


def test_encoder_only_model(ncsr_: Command, photo: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ncsr.NCSR(TINY.model_copy(update={"flow": None})).save(tmp_path / "rrdb")
    result = ncsr_("upscale", photo, "-m", tmp_path / "rrdb", "-o", tmp_path / "out", "-n", 2, "--seed", 0)
    assert result.code == 0
    first, second = (_pixels(path) for path in result.paths)
    np.testing.assert_array_equal(first, second)


# progress and processes


def test_progress_bar_with_time_left_on_a_terminal(tiny_model_folder: Path, photo: Path, tmp_path: Path) -> None:
    """Standard error is a terminal, standard output a pipe: the paths go to the pipe, whole."""
    terminal, inner = pty.openpty()
    arguments = ("upscale", photo, "-m", tiny_model_folder, "-o", tmp_path / "out", "-n", "2")
    command = [sys.executable, "-m", "ncsr", *arguments]
    environment = process_environment() | {"TERM": "xterm", "COLUMNS": "60"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=inner, env=environment) as process:
        os.close(inner)
        shown = b""
        while block := _read(terminal):
            shown += block
        out = process.stdout.read().decode() if process.stdout else ""
    os.close(terminal)
    assert process.returncode == 0
    assert out.splitlines() == [str(tmp_path / "out" / f"photo_s{k}.png") for k in range(2)]
    assert b"photo.png" in shown
    assert b"100 %" in shown
    assert shown.count(b":") >= 4  # elapsed and left, 0:00:00 0:00:00
    assert re.search(rb"seed \d+", shown)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux: the other side is closed
        return b""


def test_process_that_succeeds_in_part(tiny_model_folder: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:60])
    result = run_process(
        "upscale", "broken.png", "photo.png", "-m", tiny_model_folder, "-o", "out", "-t", 0, cwd=tmp_path
    )
    result.failed(r"^ncsr: cannot read broken\.png: ", code=1)
    assert result.paths == [Path("out/photo.png")]
    assert _names(tmp_path / "out") == ["photo.png"]


def test_bundled_model(ncsr_: Command, photo: Path, tmp_path: Path) -> None:
    result = ncsr_("upscale", photo, "-o", tmp_path / "out", "-n", 2, "--seed", 0)
    assert (result.code, len(result.paths)) == (0, 2)
    smooth = ncsr_("upscale", photo, "-s", 4, "-o", tmp_path / "smooth", "-t", 0).paths[0]
    cubic = imresize(read_photo(photo).rgb, 4).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert abs(_pixels(smooth) - cubic).mean() < 15
    assert "x4, conditional normalizing flow" in ncsr_("info", "x4-small").out


def test_interruption_leaves_nothing_half_written(
    upscale: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ncsr.images.writing._write", lambda path, *_: (path.write_text("half"), interrupted()))
    result = upscale(photo, "-o", tmp_path / "out", "-n", 1)
    assert result.code == 130
    assert "Traceback" not in result.err
    assert _names(tmp_path / "out") == []


# wrong photographs


def _bomb() -> bytes:
    """A valid PNG of a few bytes whose header tells of 50000 x 50000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    parts = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _truncated() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene8(32, 32)).save(buffer, "JPEG")
    return buffer.getvalue()[:400]


_BAD = {
    "bomb.png": (_bomb(), "50000 x 50000 pixels, over the limit"),
    "cut.jpg": (_truncated(), "damaged"),
    "empty.png": (b"", "it is empty"),
    "text.png": (b"this is a text", "no PNG, JPEG, TIFF, WebP, .* or BMP image"),
    "notes.txt": (b"this is a text", "suffix is none of"),
}


@pytest.mark.parametrize("name", _BAD)
def test_bad_photographs(upscale: Command, tmp_path: Path, name: str) -> None:
    content, reason = _BAD[name]
    (tmp_path / name).write_bytes(content)
    upscale(tmp_path / name, "-o", tmp_path / "out").failed(rf"{re.escape(name)}: .*{reason}")
    assert _names(tmp_path / "out") == []


def test_missing_and_tiny_photographs(upscale: Command, tmp_path: Path) -> None:
    upscale(tmp_path / "none.png", "-o", tmp_path / "out").failed(r"none\.png: there is no such file")
    Image.fromarray(scene8(3, 9)).save(tmp_path / "tiny.png")
    upscale(tmp_path / "tiny.png", "-o", tmp_path / "out").failed(r"tiny\.png: .*9 x 3 pixels: the smallest")


def test_the_others_of_a_batch_are_done(upscale: Command, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("a.png", "z.png"):
        _save(folder / name)
    for name, (content, _) in _BAD.items():
        (folder / name).write_bytes(content)
    result = upscale(folder, "-o", tmp_path / "out", "-n", 1, "--seed", 0)
    bad = [name for name in sorted(_BAD) if name != "notes.txt"]  # in a folder, only photographs are looked at
    result.failed(*(rf"{re.escape(name)}: .*{_BAD[name][1]}" for name in bad), code=1)
    assert _names(tmp_path / "out") == ["a.png", "z.png"]


def test_all_of_a_batch_are_bad(upscale: Command, tmp_path: Path) -> None:
    for name, (content, _) in _BAD.items():
        (tmp_path / name).write_bytes(content)
    result = upscale(*(tmp_path / name for name in _BAD), "-o", tmp_path / "out")
    result.failed(*(rf"{re.escape(name)}: .*{reason}" for name, (_, reason) in _BAD.items()))
    assert _names(tmp_path / "out") == []


def test_folder_without_images(upscale: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    upscale(tmp_path / "empty", "-o", tmp_path / "out").failed(r"empty holds no photographs")
    assert not (tmp_path / "out").exists()
    upscale(tmp_path / "empty", photo, "-o", tmp_path / "out", "-t", 0).failed(r"holds no photographs", code=1)
    assert _names(tmp_path / "out") == ["photo.png"]


def test_output_folder_that_cannot_be_made(upscale: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file" / "out", tmp_path / "file", tmp_path / "file" / "big.png"):
        upscale(photo, "-o", out).failed(r"cannot make the folder .*file is a file")
    assert (tmp_path / "file").read_text() == "precious"


def test_output_that_cannot_be_written(upscale: Command, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "photo.png").mkdir(parents=True)
    upscale(photo, "-o", tmp_path / "out", "-n", 1).failed(r"cannot write .*photo\.png: ")
    assert _names(tmp_path / "out") == ["photo.png"]


@pytest.mark.parametrize(
    ("name", "width", "limit"), [("wide.webp", 4100, 16383), ("wide.jpg", 16400, 65500), ("wide.jpeg", 16400, 65500)]
)
def test_format_that_cannot_hold_the_result(
    upscale: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, width: int, limit: int
) -> None:
    """Said before computing: drawing the wide one would fail the test."""
    draw = FlowSpace.draw

    def narrow(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        assert space.lr.shape[-1] == _W
        return draw(space, *arguments)

    monkeypatch.setattr(FlowSpace, "draw", narrow)
    Image.new("RGB", (width, 4)).save(tmp_path / name)
    result = upscale(tmp_path / name, photo, "-o", tmp_path / "out", "-t", 0)
    result.failed(rf"{4 * width} x 16 pixels, and \.\w+ holds at most {limit} a side; use \.tif", code=1)
    assert _names(tmp_path / "out") == ["photo.png"]


def test_sample_that_is_never_finite(
    upscale: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(scene8(10, 10)).save(good)
    draw = FlowSpace.draw

    def spoiled(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        images = draw(space, *arguments)
        return images * float("nan") if space.lr.shape[-1] == _W else images

    monkeypatch.setattr(FlowSpace, "draw", spoiled)
    result = upscale(photo, good, "-o", tmp_path / "out", "-n", 2, "--seed", 0)
    result.failed(r"photo\.png: sample 0 was not finite in 3 draws at temperature 0\.8: lower", code=1)
    assert _names(tmp_path / "out") == ["good_s0.png", "good_s1.png"]


def test_not_enough_memory(upscale: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(space: FlowSpace, *_: object) -> torch.Tensor:
        return torch.empty(10**15) if space.lr.shape[-1] == _W else torch.zeros(1, 1, 3, 40, 40)

    monkeypatch.setattr(FlowSpace, "draw", hungry)
    Image.fromarray(scene8(10, 10)).save(tmp_path / "good.png")
    result = upscale(photo, tmp_path / "good.png", "-o", tmp_path / "out", "-t", 0)
    result.failed(r"photo\.png: not enough memory", code=1)
    assert _names(tmp_path / "out") == ["good.png"]


# results in each other's way


def test_results_that_would_be_the_same_file(upscale: Command, tmp_path: Path) -> None:
    first, second = _save(tmp_path / "a" / "photo.png"), _save(tmp_path / "b" / "photo.png")
    upscale(first, second, "-o", tmp_path / "out").failed(r"a/photo\.png and .*b/photo\.png would both become")
    third = _save(tmp_path / "a" / "photo.jpg")  # samples have other names, sheets the same
    upscale(first, third, "-o", tmp_path / "out", "--sheet").failed(r"would both become .*photo_sheet\.png")
    assert upscale(first, third, "-o", tmp_path / "out", "-n", 1).code == 0
    upscale(first, second, "-o", tmp_path / "one.png").failed(r"names one file, but there may be several")
    upscale(first, "-o", tmp_path / "one.gif").failed(
        r"one\.gif: results are written as \.avif .*; for a folder, make it"
    )
    upscale(tmp_path / "a", "-o", tmp_path / "one.png").failed(r"names one file, but there may be several")


def test_photographs_are_not_replaced(upscale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = _save(tmp_path / "photo.png")
    before = photo.read_bytes()
    monkeypatch.chdir(tmp_path)
    upscale("photo.png", "-o", ".", "-n", 1).failed(r"would replace a photograph: choose another -o")
    upscale("photo.png", "-o", tmp_path / "photo.png", "-t", 0).failed(r"would replace a photograph")
    assert upscale("photo.png", "-o", ".", "-n", 2).code == 0
    upscale(".", "-o", ".", "-n", 2).failed(r"photo_s0\.png, made from photo\.png, would replace a photograph")
    assert photo.read_bytes() == before


# wrong requests


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (("-n", 0), "number of samples must be at least 1, got 0"),
        (("-n", -2), "number of samples must be at least 1, got -2"),
        (("-t", -0.5), r"temperature must be a finite number from 0 up, got -0\.5"),
        (("-t", "nan"), "temperature must be a finite number"),
        (("-t", "inf"), "temperature must be a finite number"),
        (("--seed", -1), "seed must be at least 0, got -1"),
        (("--tile", 8), "tile must be at least 16 LR pixels, got 8"),
        (("--tile", -8), "tile must be at least 16 LR pixels, got -8"),
        (("--tile", "big"), "--tile must be auto or a number of input pixels, got 'big'"),
        (("-s", 8), r"scale 8 does not match the model .*, which enlarges by 4"),
        (("-s", 0), r"scale 0 does not match the model"),
        (("--device", "meta"), "no device 'meta' on this machine"),
        (("--device", "abacus"), "no device 'abacus' on this machine"),
        (("--precision", "float8"), "precision must be auto, float32, tf32 or bfloat16, got 'float8'"),
        (("--std", "-n", 1), "--std needs samples that differ"),
        (("--std", "-t", 0), "--std needs samples that differ"),
    ],
)
def test_wrong_options(upscale: Command, photo: Path, tmp_path: Path, how: Sequence[object], reason: str) -> None:
    upscale(photo, "-o", tmp_path / "out", *how).failed(reason)
    assert not (tmp_path / "out").exists()


# large photographs: tiles, interruptions


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A photograph of nine tiles of 16."""
    Image.fromarray(scene8(40, 48)).save(tmp_path / "large.png")
    return tmp_path / "large.png"


@pytest.mark.parametrize("name", ["large.png", "large.tif", "large.bmp", "large.webp", "large.jpg"])
def test_tiles_leave_no_trace(upscale: Command, large: Path, tmp_path: Path, name: str) -> None:
    whole = upscale(large, "-o", tmp_path / "whole" / name, "-n", 1, "--seed", 0).paths[0]
    tiled = upscale(large, "-o", tmp_path / "tiled" / name, "-n", 1, "--seed", 0, "--tile", 16).paths[0]
    assert abs(_pixels(whole) - _pixels(tiled)).max() <= (12 if name == "large.jpg" else 1)
    assert _names(tmp_path / "tiled") == [name]


def test_tiles_of_16_bits_with_everything(upscale: Command, tmp_path: Path) -> None:
    stored = (scene(40, 48, 4) * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", stored, photometric="rgb", tile=(16, 16), extrasamples=["unassalpha"])
    how = (tmp_path / "deep.tif", "-n", 2, "--seed", 0, "--sheet", "--std", "-o")
    upscale(*how, tmp_path / "whole")
    result = upscale(*how, tmp_path / "tiled", "--tile", "16")
    assert result.code == 0
    assert _names(tmp_path / "tiled") == ["deep_s0.tif", "deep_s1.tif", "deep_sheet.png", "deep_std.png"]
    for name in ("deep_sheet.png", "deep_std.png"):
        assert abs(_pixels(tmp_path / "whole" / name) - _pixels(tmp_path / "tiled" / name)).max() <= 3
    a, b = (tifffile.imread(tmp_path / folder / "deep_s1.tif").astype(int) for folder in ("whole", "tiled"))
    assert a.shape == (160, 192, 4)
    assert (a % 257 != 0).mean() > 0.5
    assert np.median(abs(a - b)) < 10


def test_a_stopped_run_goes_on(upscale: Command, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --seed: the second run takes the first one's, or nothing would fit together."""
    draw, drawn = FlowSpace.draw, 0

    def interrupted(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        nonlocal drawn
        drawn += 1
        if drawn == 5:
            raise KeyboardInterrupt
        return draw(space, *arguments)

    monkeypatch.setattr(FlowSpace, "draw", interrupted)
    how = (large, "-n", 2, "--tile", 16, "-o", tmp_path / "out")
    stopped = upscale(*how)
    assert stopped.code == 130
    assert "stopped: the same command goes on from here" in stopped.err
    assert "Traceback" not in stopped.err
    assert _names(tmp_path / "out") == [".large.png.scratch"]
    result = upscale(*how)
    assert result.code == 0
    assert "going on with what" in result.err
    assert drawn == 4 + 1 + 5  # nine tiles, four of which were done
    assert _names(tmp_path / "out") == ["large_s0.png", "large_s1.png"]
    seed = re.search(r"seed (\d+)", result.err)
    assert seed
    upscale(*how[:-1], tmp_path / "straight", "--seed", seed[1])
    for name in _names(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_a_killed_process_goes_on(upscale: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    Image.fromarray(scene8(80, 80)).save(tmp_path / "large.png")
    how = ("-n", 2, "--seed", 1, "--tile", 16, "-o")
    command = ["upscale", "large.png", "-m", tiny_model_folder, *how, "out"]
    journal = tmp_path / "out" / ".large.png.scratch" / "journal.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "ncsr", *map(str, command)], cwd=tmp_path, env=process_environment()
    ) as process:
        while not journal.exists() or len(journal.read_text().splitlines()) < 3:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        (tmp_path / "out" / ".ncsr-tmp-abandoned.png").write_bytes(b"half")
        second = upscale(tmp_path / "large.png", *how, tmp_path / "out")
        second.failed(rf"^ncsr: \S+large\.png is being written by process {process.pid}: wait until that ends")
        process.kill()
    scratch, lock = _names(tmp_path / "out")
    assert scratch == ".large.png.scratch"
    assert lock.startswith(".ncsr-lock-")
    done = len(journal.read_text().splitlines())
    assert 3 <= done < 25
    result = upscale(tmp_path / "large.png", *how, tmp_path / "out")
    assert "going on" in result.err
    straight = upscale(tmp_path / "large.png", *how, tmp_path / "straight")
    assert _names(tmp_path / "out") == ["large_s0.png", "large_s1.png"]
    for a, b in zip(result.paths, straight.paths, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_a_run_stopped_while_it_writes_goes_on(
    upscale: Command, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is drawn again, and what is projected again has the same bytes."""
    how = (large, "-n", 2, "--seed", 0, "--tile", 16, "--consistent", "-o")
    straight = upscale(*how, tmp_path / "straight")
    write, written = write_pixels, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("ncsr.upscaling.pipeline.write_pixels", interrupted)
        assert upscale(*how, tmp_path / "out").code == 130
    assert _names(tmp_path / "out") == [".large.png.scratch", "large_s0.png"]
    monkeypatch.setattr(FlowSpace, "draw", lambda *_: pytest.fail("drawn again"))
    result = upscale(*how, tmp_path / "out")
    assert "going on with what" in result.err
    assert _names(tmp_path / "out") == ["large_s0.png", "large_s1.png"]
    for a, b in zip(result.paths, straight.paths, strict=True):
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("readings", range(6))
def test_the_side_of_the_tiles_is_chosen_once(
    upscale: Command, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: int
) -> None:
    """Whenever free memory shrinks: several tiles are gathered in a scratch folder, one piece is not."""
    space, scratched = ncsr.NCSR.space, []
    free = itertools.chain(itertools.repeat(2**33, readings), itertools.repeat(58 * 2**20))

    def noted(self: ncsr.NCSR, lr: torch.Tensor, *, origin: tuple[int, int] = (0, 0)) -> object:
        scratched.append((tmp_path / "out" / ".large.png.scratch").exists())
        return space(self, lr, origin=origin)

    monkeypatch.setattr("ncsr.upscaling.pipeline._batch_limit", lambda *_: 1, raising=False)
    monkeypatch.setattr("ncsr.upscaling.tile_size.tile_bytes", lambda config, pixels, low: 2**14 * pixels)
    monkeypatch.setattr("ncsr.upscaling.tile_size.available", lambda device: next(free))
    monkeypatch.setattr(ncsr.NCSR, "space", noted)
    assert upscale(large, "-o", tmp_path / "out", "-n", 1, "--seed", 0).code == 0
    assert len(scratched) in (1, 4, 9)
    assert scratched == [len(scratched) > 1] * len(scratched)


def test_few_frames_from_the_command_to_the_space(
    upscale: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions and generators of the package that are being run when the space is made, the command's included."""
    space, frames = ncsr.NCSR.space, []

    def counted(self: ncsr.NCSR, lr: torch.Tensor, *, origin: tuple[int, int] = (0, 0)) -> object:
        stack = [info for info in inspect.stack(0) if Path(info.filename).is_relative_to(Path(ncsr.__file__).parent)]
        frames.append([info.function for info in stack])
        return space(self, lr, origin=origin)

    monkeypatch.setattr(ncsr.NCSR, "space", counted)
    assert upscale(photo, "-o", tmp_path / "out", "-n", 2).code == 0
    names = frames[0][: frames[0].index("upscale") + 1]  # above it is what reads the command line
    assert len(names) <= 6, names


def test_scratch_that_is_a_link_is_not_followed(upscale: Command, large: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "pixels").write_bytes(b"dear diary")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".large.png.scratch").symlink_to(tmp_path / "private")
    upscale(large, "-o", tmp_path / "out", "--tile", 16).failed(r"large\.png\.scratch is a symbolic link")
    assert (tmp_path / "private" / "pixels").read_bytes() == b"dear diary"
    assert _names(tmp_path / "private") == ["pixels"]


@pytest.mark.parametrize("stem", [243, 247, 251])
def test_the_longest_names(upscale: Command, tmp_path: Path, stem: int) -> None:
    """A name that leaves no room for what stands behind those of hidden files."""
    path = _save(tmp_path / ("n" * stem + ".png"))
    for how in (("--tile", 16), ()):
        result = upscale(path, "-o", tmp_path / "out", "-n", 1, "--seed", 0, "--skip-existing", "--strip", *how)
        assert (result.code, result.err) == (0, "") or "left out 1 of 1" in result.err
    if stem > 248:
        upscale(path, "-o", tmp_path / "out", "-n", 2).failed("File name too long")


def test_the_seed_is_printed_before_the_first_result(
    upscale: Command, photo: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before a run was stopped can be made again."""
    draw = FlowSpace.draw

    def interrupted(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        if space.lr.shape[-1] > 12 and (tmp_path / "out" / "photo_s0.png").exists():
            raise KeyboardInterrupt
        return draw(space, *arguments)

    monkeypatch.setattr(FlowSpace, "draw", interrupted)
    for other in ("b", "c"):
        shutil.copy(large, tmp_path / f"{other}.png")
    result = upscale(photo, large, tmp_path / "b.png", tmp_path / "c.png", "-o", tmp_path / "out", "--sheet")
    assert result.code == 130
    assert result.err.startswith("seed ")


def test_scratch_of_another_run_does_not_count(upscale: Command, large: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "out" / ".large.png.scratch"
    scratch.mkdir(parents=True)
    (scratch / "journal.jsonl").write_text('{"seed": 12}\n{"attempt": 0, "tile": [0, 0, 40, 48], "bad": []}\n')
    result = upscale(large, "-o", tmp_path / "out", "-n", 1, "--seed", 0)
    assert (result.code, result.err) == (0, "")
    upscale(large, "-o", tmp_path / "other", "-n", 1, "--seed", 0)
    assert (tmp_path / "out/large.png").read_bytes() == (tmp_path / "other/large.png").read_bytes()
    assert _names(tmp_path / "out") == ["large.png"]


def test_consistent(upscale: Command, large: Path, tmp_path: Path) -> None:
    plain = upscale(large, "-o", tmp_path / "plain", "-n", 2, "--seed", 0).paths
    for how in ((), ("--tile", 16)):
        result = upscale(large, "-o", tmp_path / "out", "-n", 2, "--seed", 0, "--consistent", *how)
        said = re.findall(r"ncsr: .*large_s(\d)\.png: LR-PSNR (\S+) dB, changed by (\S+) grey levels", result.err)
        lr = torch.from_numpy(_pixels(large)).permute(2, 0, 1).byte()
        for (k, psnr, change), path, before in zip(said, result.paths, plain, strict=True):
            written = torch.from_numpy(_pixels(path)).permute(2, 0, 1).byte()
            assert f"large_s{k}.png" == path.name
            assert lr_psnr(written, lr) > 60
            assert float(psnr) == pytest.approx(lr_psnr(written, lr).item(), abs=0.06)
            assert float(change) == pytest.approx(abs(_pixels(path) - _pixels(before)).mean(), rel=0.1)


def test_consistent_jpeg_becomes_png(upscale: Command, tmp_path: Path) -> None:
    source = _save(tmp_path / "photo.jpg")
    result = upscale(source, "-o", tmp_path / "out", "-n", 1, "--consistent")
    assert result.paths == [tmp_path / "out" / "photo.png"]
    reason = r"big\.jpg: \.jpg would change what --consistent fits; use \.png or \.tif"
    upscale(source, "-o", tmp_path / "big.jpg", "-n", 1, "--consistent").failed(reason)


def test_places_without_room(
    upscale: Command, large: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before anything is computed; what needs less room is done."""
    drawn = []
    draw = FlowSpace.draw
    monkeypatch.setattr(FlowSpace, "draw", lambda *arguments: drawn.append(1) or draw(*arguments))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        result = upscale(large, photo, "-o", tmp_path / "out", "-t", 0, "--tile", 16)
        result.failed(r"scratch file .* No space left on device; make room, or write into another folder", code=1)
    assert _names(tmp_path / "out") == ["photo.png"]
    drawn.clear()

    def read_only(**_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("ncsr.images.writing.TemporaryFile", read_only)
    upscale(large, "-o", tmp_path / "out", "-n", 1).failed(r"large\.png: Read-only file system; choose another -o")
    assert not drawn


def test_memory_that_runs_out_makes_tiles_smaller(
    upscale: Command, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = FlowSpace.draw

    def hungry(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        return torch.empty(10**15) if space.lr[0, 0].numel() > 1600 else draw(space, *arguments)

    plain = upscale(large, "-o", tmp_path / "plain", "-n", 1, "--seed", 0).paths[0]
    monkeypatch.setattr(FlowSpace, "draw", hungry)
    result = upscale(large, "-o", tmp_path / "out", "-n", 1, "--seed", 0)
    assert result.code == 0
    assert result.err == "ncsr: memory ran out: going on with tiles of 24 LR pixels\n"
    assert abs(_pixels(plain) - _pixels(result.paths[0])).max() <= 1
    upscale(large, "-o", tmp_path / "out", "--tile", 48).failed(r"not enough memory for tiles of 48 LR pixels: about")


def test_more_pixels_than_allowed(upscale: Command, large: Path, tmp_path: Path) -> None:
    small = (large, "-o", tmp_path / "out", "-n", 1, "--max-pixels")
    upscale(*small, 1919).failed(r"large\.png: its header says 48 x 40 pixels, over the limit of 1919")
    assert upscale(*small, 1920).code == 0


def test_incomplete_photographs_and_further_pages(upscale: Command, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene8(32, 32)).save(buffer, "JPEG", quality=95)
    (tmp_path / "half.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 3 // 4] + b"\xff\xd9")
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([scene8(_H, _W)] * 2), photometric="rgb")
    given = (tmp_path / "half.jpg", tmp_path / "pages.tif", "-o", tmp_path / "out", "-n", 1, "--seed", 0)
    result = upscale(*given)
    first, incomplete = (
        r"pages\.tif: it has several pages, of which the first is taken",
        r"half\.jpg: its data end early",
    )
    result.failed(first, rf"{incomplete}.*--allow-incomplete", code=1)
    result = upscale(*given, "--allow-incomplete")
    assert result.code == 0
    assert re.search(incomplete, result.err)
    assert _names(tmp_path / "out") == ["half.jpg", "pages.tif"]


def test_a_damaged_tile_leaves_no_scratch(upscale: Command, tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, scene8(48, 48), photometric="rgb", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        last, length = file.pages.first.dataoffsets[-1], file.pages.first.databytecounts[-1]
    with path.open("r+b") as target:
        target.seek(last)
        target.write(bytes(length))
    upscale(path, "-o", tmp_path / "out", "-n", 1, "--tile", 16).failed(r"photo\.tif: it is damaged")
    assert _names(tmp_path / "out") == []
