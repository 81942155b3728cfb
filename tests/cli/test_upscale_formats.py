"""`ncsr upscale` and formats: --format, --quality, --page, --std-format, and - for standard input and output."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import ncsr
from ncsr.images import read_photo, to_array
from ncsr.upscaling import pipeline
from tests.conftest import Command, process_environment, scene8

_H, _W = 6, 8


@pytest.fixture
def upscale(ncsr_: Command, tiny_model_folder: Path) -> Command:
    """Runs `ncsr upscale` with the tiny model."""
    return lambda *arguments: ncsr_("upscale", "-m", tiny_model_folder, *arguments)


def _save(path: Path, seed: int = 0, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene8(_H, _W, seed=seed)).save(path, **how)
    return path


def test_every_format_says_where_it_comes_from(upscale: Command, tmp_path: Path) -> None:
    photo = _save(tmp_path / "photo.png")
    for form, suffix in (
        ("png", ".png"),
        ("jpg", ".jpg"),
        ("webp", ".webp"),
        ("tiff", ".tif"),
        ("avif", ".avif"),
        ("jxl", ".jxl"),
    ):
        made = upscale(photo, "-o", tmp_path / form, "-n", 1, "--seed", 3, "--format", form)
        assert made.paths == [tmp_path / form / f"photo{suffix}"]
        origin = ncsr.provenance(made.paths[0])
        assert origin is not None
        assert (origin.seed, origin.quality, origin.page) == (3, None, None)
        assert read_photo(made.paths[0]).size == (4 * _H, 4 * _W)


@pytest.mark.parametrize("form", ["jpg", "webp", "avif", "jxl"])
def test_quality_is_remembered(
    upscale: Command, ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, form: str
) -> None:
    photo = _save(tmp_path / "photo.png")
    command = (photo, "-o", tmp_path, "-n", 1, "--seed", 3, "--format", form, "--quality", 30, "--skip-existing")
    (path,) = upscale(*command).paths
    origin = ncsr.provenance(path)
    assert origin is not None
    assert origin.quality == 30
    assert "equal to the bit" in ncsr_("remake", path, photo, "-m", tiny_model_folder).out
    assert "left out 1 of 1" in upscale(*command).err
    again = upscale(*command[:-2], 31, "--skip-existing")
    assert again.paths == [path]


def test_what_is_not_written_becomes_png(upscale: Command, tmp_path: Path) -> None:
    _save(tmp_path / "in" / "a.gif")
    _save(tmp_path / "in" / "b.jp2")
    _save(tmp_path / "in" / "c.jfif", format="JPEG")
    _save(tmp_path / "in" / "d", format="JPEG")
    made = upscale(tmp_path / "in", "-o", tmp_path / "out", "-t", 0)
    assert sorted(path.name for path in made.paths) == ["a.png", "b.png", "c.jfif", "d.png"]
    assert made.err == ""


def test_xmp_and_texts_are_kept_unless_stripped(upscale: Command, tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("Author", "A photographer")
    photo = _save(tmp_path / "photo.png", pnginfo=texts)
    upscale(photo, "-o", tmp_path / "kept", "-t", 0)
    upscale(photo, "-o", tmp_path / "stripped", "-t", 0, "--strip")
    assert b"A photographer" in (tmp_path / "kept" / "photo.png").read_bytes()
    assert b"A photographer" not in (tmp_path / "stripped" / "photo.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "bpg"], "--format must be png, jpg, webp, tiff, avif or jxl, got 'bpg'"),
        (["--quality", 90], r"\.png has no quality"),
        (["--format", "tiff", "--quality", 90], r"\.tif has no quality"),
        (["--format", "jpg", "--quality", 0], "--quality"),
        (["--format", "avif", "--consistent"], "--format avif would change what --consistent fits"),
        (["--format", "webp", "--consistent", "--quality", 90], "--quality would change what --consistent fits"),
        (["--page", "0"], "--page must be all or a number from 1, got '0'"),
        (["--page", "x"], "--page must be all or a number from 1"),
        (["--page", 2], r"photo\.png: it has no page 2, only 1"),
        (["--std-format", "jpg"], "--std-format must be png, tiff or npy"),
        (["--std-format", "npy", "-n", 1], "--std needs samples that differ"),
    ],
)
def test_what_means_nothing_is_refused(
    upscale: Command, tmp_path: Path, arguments: list[object], sentence: str
) -> None:
    upscale(_save(tmp_path / "photo.png"), "-o", tmp_path / "out", *arguments).failed(sentence)
    assert not list((tmp_path / "out").glob("*"))


def test_two_formats_for_one_file(upscale: Command, tmp_path: Path) -> None:
    photo = _save(tmp_path / "photo.png")
    upscale(photo, "-o", tmp_path / "a.png", "--format", "jpg").failed("name two formats")
    assert upscale(photo, "-o", tmp_path / "a.jpeg", "--format", "jpg", "-t", 0).code == 0
    upscale(photo, "-o", tmp_path / "a.heic").failed(r"a\.heic: results are written as \.avif")


def _scan(path: Path) -> Path:
    with tifffile.TiffWriter(path) as file:
        for seed in range(3):
            file.write(scene8(_H, _W, seed=seed), photometric="rgb", metadata=None)
    return path


def test_pages(upscale: Command, ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    scan, photo = _scan(tmp_path / "scan.tif"), _save(tmp_path / "photo.png", seed=1)
    first = upscale(scan, "-o", tmp_path / "first", "-t", 0)
    assert "several pages, of which the first is taken (--page)" in first.err
    made = upscale(scan, photo, "-o", tmp_path / "all", "-n", 1, "--seed", 0, "--page", "all")
    assert sorted(path.name for path in made.paths) == ["photo.png", "scan_p1.tif", "scan_p2.tif", "scan_p3.tif"]
    assert made.err == ""
    second = to_array(read_photo(tmp_path / "all" / "scan_p2.tif"))
    np.testing.assert_array_equal(second, to_array(read_photo(tmp_path / "all" / "photo.png")))
    origin = ncsr.provenance(tmp_path / "all" / "scan_p2.tif")
    assert origin is not None
    assert origin.page == 2
    remade = ncsr_("remake", tmp_path / "all" / "scan_p2.tif", scan, "-m", tiny_model_folder)
    assert "equal to the bit" in remade.out
    upscale(scan, "-o", tmp_path / "two.tif", "-n", 1, "--seed", 0, "--page", 2)
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "two.tif")), second)
    upscale(scan, "-o", tmp_path / "a.tif", "--page", "all").failed("--page all makes several results")


def test_a_sheet_goes_on_with_what_is_of_its_own_page(
    upscale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real = [], pipeline.scratch_for
    monkeypatch.setattr(pipeline, "scratch_for", lambda *how: asked.append(how[5:]) or real(*how))
    assert upscale(_scan(tmp_path / "scan.tif"), "-o", tmp_path / "two.tif", "-n", 1, "--page", 2, "--sheet").code == 0
    assert asked == [(2,), (2,)]  # for the sample, and for the panel of temperature 0


def test_frames_of_an_animation(upscale: Command, tmp_path: Path) -> None:
    path, frames = tmp_path / "film.gif", [Image.fromarray(scene8(_H, _W, seed=seed)) for seed in range(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    made = upscale(path, "-o", tmp_path / "all", "-t", 0, "--page", "all")
    assert ([file.name for file in made.paths], made.err) == (["film_p1.png", "film_p2.png"], "")
    (second,) = upscale(path, "-o", tmp_path / "second", "-t", 0, "--page", 2).paths
    pixels = [to_array(read_photo(file)) for file in (*made.paths, second)]
    np.testing.assert_array_equal(pixels[1], pixels[2])
    assert (pixels[0] != pixels[1]).any()
    assert getattr(ncsr.provenance(second), "page", None) == 2


def test_every_bad_page_is_told_of(upscale: Command, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        for values in (scene8(_H, _W), np.zeros((5, 5), np.float32), np.zeros((5, 5), np.int16)):
            file.write(values, photometric="rgb" if values.ndim == 3 else "minisblack", metadata=None)
    made = upscale(tmp_path / "scan.tif", "-o", tmp_path / "out", "-t", 0, "--page", "all")
    made.failed("floating-point", "signed", code=1)
    assert [path.name for path in made.paths] == ["scan_p1.tif"]


@pytest.mark.parametrize("form", ["tiff", "npy"])
def test_the_deviation_in_numbers(upscale: Command, ncsr_: Command, tmp_path: Path, form: str) -> None:
    photo = _save(tmp_path / "photo.png")
    made = upscale(photo, "-o", tmp_path, "-n", 3, "--seed", 0, "--std-format", form, "--skip-existing", "--sidecar")
    path = tmp_path / ("photo_std.tif" if form == "tiff" else "photo_std.npy")
    assert path in made.paths
    numbers = tifffile.imread(path) if form == "tiff" else np.load(path)
    assert (numbers.dtype, numbers.shape) == (np.float32, (4 * _H, 4 * _W))
    samples = np.stack([to_array(read_photo(tmp_path / f"photo_s{k}.png")) for k in range(3)]) / 255
    np.testing.assert_allclose(numbers, samples.std(0).mean(-1), atol=1e-6)
    origin = ncsr.provenance(path)  # of NPY by its sidecar alone
    assert origin is not None
    assert origin.picture == "standard deviation"
    if form == "tiff":
        assert "standard deviation" in ncsr_("info", path).out


def test_standard_input_and_output(upscale: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    photo = _save(tmp_path / "photo.jpg")
    plain = upscale(photo, "-o", tmp_path / "plain.avif", "-n", 1, "--seed", 2)
    command = [sys.executable, "-m", "ncsr", "upscale", "-m", str(tiny_model_folder)]
    command += ["-", "-o", "-", "--seed", "2", "--format", "avif"]
    done = subprocess.run(
        command, input=photo.read_bytes(), capture_output=True, check=False, env=process_environment()
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == plain.paths[0].read_bytes()


def test_standard_input_into_a_folder(upscale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = _save(tmp_path / "photo.jpg")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    made = upscale("-", "-o", tmp_path / "out", "-n", 2, "--seed", 0)
    assert [path.name for path in made.paths] == ["stdin_s0.png", "stdin_s1.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-", "-o", "-"], "cannot read standard input: its content is no PNG"),
        (["-", "-o", "-", "-n", 2], "-o - is one image: leave out -n"),
        (["-", "-o", "-", "--sidecar"], "-o - is one image"),
        (["-", "other.png", "-o", "out"], "- stands for one photograph"),
        (["-", "-o", "-", "--json"], "- goes with none of --json"),
        (["-", "-o", "out", "--skip-existing"], "- goes with none of"),
        (["-", "-o", "-", "--page", "all"], "- goes with none of"),
    ],
)
def test_what_does_not_go_through_a_pipe(
    upscale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"this is a text")))
    upscale(*arguments).failed(sentence)
    assert list(tmp_path.iterdir()) == []


def test_terminals_are_not_pipes(upscale: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    upscale("-", "-o", tmp_path).failed("standard input, which is a terminal")
