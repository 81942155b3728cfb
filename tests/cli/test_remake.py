"""`ncsr remake`: images made again from what they say of their origin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import ncsr
from ncsr.images import write_pixels
from tests.conftest import TINY, Command, scene, scene8

_H, _W = 18, 20


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(scene8(_H, _W)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def upscale(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> Command:
    """Enlarges photographs with the tiny model into tmp_path / out."""
    return lambda *arguments: ncsr_("upscale", "-m", tiny_model_folder, "-o", tmp_path / "out", *arguments)


@pytest.fixture
def remake(ncsr_: Command, tiny_model_folder: Path) -> Command:
    return lambda *arguments: ncsr_("remake", "-m", tiny_model_folder, *arguments)


def _changed(path: Path, place: tuple[Any, ...], by: int) -> None:
    """Change one value of a PNG file, and nothing of what it says."""
    pixels, record = np.array(Image.open(path)), ncsr.provenance(path)
    assert record is not None
    pixels[place] = pixels[place] + by if pixels[place] < 128 else pixels[place] - by
    write_pixels(path, pixels, None, None, None, record.record())


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("photo.png", ("-n", 2)),
        ("photo.jpg", ("-n", 2, "--tile", 16)),
        ("clear.webp", ("-n", 2)),
        ("deep.tif", ("-n", 2, "--tile", 16, "--consistent")),
        ("photo.png", ("-t", 0)),
        ("photo.png", ("-n", 2, "--factor", 2.7)),
        ("clear.webp", ("-n", 1, "--size", "50x", "--tile", 16)),
        ("photo.png", ("-n", 2, "--precision", "bfloat16")),
    ],
)
def test_a_sample_is_made_again_to_the_bit(
    upscale: Command, remake: Command, photo: Path, name: str, how: Sequence[object]
) -> None:
    source = photo.with_name(name)
    if name == "clear.webp":
        Image.fromarray(scene8(_H, _W, 4)).save(source, lossless=True)
    elif name == "deep.tif":
        tifffile.imwrite(source, (scene(_H, _W) * 65535).astype(np.uint16), photometric="rgb")
    else:
        Image.open(photo).save(source)
    made = upscale(source, "--seed", 3, *how).paths[-1]
    result = remake(made, source)
    assert (result.code, result.out, result.err) == (0, f"{made}: equal to the bit\n", "")


def test_another_picture_and_one_that_was_rounded_in_another_way(
    upscale: Command, remake: Command, photo: Path
) -> None:
    made = upscale(photo, "-n", 1, "--seed", 3).paths[0]
    _changed(made, (5, 6, 1), 1)
    result = remake(made, photo)
    told = f"{made}: equal but for rounding, as on another processor: 1 of {4 * _H * 4 * _W * 3} values differ"
    assert (result.code, result.out) == (0, f"{told}, by at most 1 of 255\n")
    _changed(made, (5, 6, 1), 30)
    result = remake(made, photo)
    assert result.code == 1
    assert f"{made}: another picture: 1 of" in result.out
    record = ncsr.provenance(made)
    assert record is not None
    for pixels in (scene8(8, 8), scene8(4 * _H, 4 * _W, 4)):
        write_pixels(made, pixels, None, None, None, record.record())
        result = remake(made, photo)
        assert (result.code, result.out) == (1, f"{made}: another picture, of another size or kind\n")


def test_the_image_is_kept_on_request(upscale: Command, remake: Command, photo: Path, tmp_path: Path) -> None:
    made = upscale(photo, "-n", 1, "--seed", 3).paths[0]
    assert remake(made, photo, "-o", tmp_path / "new" / "again.png").code == 0
    assert (tmp_path / "new" / "again.png").read_bytes() == made.read_bytes()
    remake(made, photo, "-o", tmp_path / "again.jpg").failed(r"again\.jpg: to be compared, it needs the suffix of")
    remake(made, photo, "-o", photo).failed("would replace an image that is read")
    remake(made, photo, "-o", made).failed("would replace an image that is read")


def test_a_sidecar_is_enough(upscale: Command, remake: Command, photo: Path) -> None:
    made, sidecar = upscale(photo, "-n", 1, "--seed", 3, "--strip", "--sidecar").paths
    for file in (made, sidecar):
        assert remake(file, photo).out == f"{made}: equal to the bit\n"
    record = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(record | {"ncsr": "0.0.1", "device": "abacus"}))
    result = remake(made, photo, "--device", "cpu")
    assert (result.code, result.out) == (0, f"{made}: equal to the bit\n")
    assert [line.partition(" was made ")[2] for line in result.err.splitlines()] == [
        f"by ncsr '0.0.1', this is {ncsr.__version__}",
        "on 'abacus', this is cpu",
    ]
    for key, value in (("samples", [0, 1]), ("samples", [-1]), ("seed", -1), ("tile", 2), ("precision", "int4")):
        sidecar.write_text(json.dumps(record | {key: value}))
        result = remake(made, photo)
        assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)


def test_another_photograph_or_model_is_refused(
    ncsr_: Command, upscale: Command, remake: Command, photo: Path, tmp_path: Path
) -> None:
    made = upscale(photo, "-n", 1, "--seed", 3).paths[0]
    other = tmp_path / "other.png"
    Image.fromarray(scene8(_H, _W, seed=1)).save(other)
    remake(made, other).failed(rf"other\.png is not the photograph that {made} was made from: its SHA-256 is")
    assert remake(made, other, "--other-photo").code == 1
    remake(made, tmp_path / "none.png").failed("cannot read .*none.png")
    ncsr_("remake", made, photo).failed(
        r"was made by the model 'tiny' with the hash '\w{16}', which does not come with ncsr: give it with -m"
    )
    ncsr.NCSR(TINY).save(tmp_path / "untrained")
    ncsr_("remake", made, photo, "-m", tmp_path / "untrained").failed(r"has the hash \w{16}: give it with -m")


def test_what_cannot_be_made_again(upscale: Command, remake: Command, photo: Path) -> None:
    paths = upscale(photo, "-n", 2, "--std", "--sheet").paths
    for path, kind in zip(paths[2:], ("standard deviation", "contact sheet"), strict=True):
        remake(path, photo).failed(f"a {kind} cannot be made again: only a single sample can")
    remake(photo, photo).failed(r"does not say where it comes from: .* a sidecar would be photo\.png\.json")
