"""Enlarging photographs of every kind, from Python."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import mypy.api
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import ncsr
from ncsr.images import photo_from_array, premultiplied
from ncsr.ops.resize import imresize
from ncsr.upscaling.api import upscale_photo
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import TINY, Command, scene, scene8
from tests.models import lively_model

_H, _W = 6, 8
_TWO = SampleRequest(2, TINY.temperature, 0)


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
    drawn = tiny_model.space(lr[None]).sample(1, seed=0)[0, 0].permute(1, 2, 0).numpy()
    drawn = drawn if channels == 3 else drawn.mean(2, keepdims=True)
    np.testing.assert_allclose(first.reshape(drawn.shape) / top, drawn, rtol=0, atol=0.51 / top if top > 1 else 1e-6)


def test_gray_stays_gray_and_is_enlarged_as_colour(tiny_model: ncsr.NCSR) -> None:
    gray = scene8(_H, _W, 1)[..., 0]
    colour = np.repeat(gray[..., None], 3, axis=2)
    enlarged = ncsr.upscale(gray, tiny_model, 1, seed=1)[0]
    in_colour = ncsr.upscale(colour, tiny_model, 1, seed=1)[0]
    np.testing.assert_allclose(enlarged, in_colour.astype(float).mean(2), atol=1)
    photo = upscale_photo(photo_from_array(gray), tiny_model, SampleRequest(1, TINY.temperature, 1))[0]
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
    for result in upscale_photo(photo, tiny_model, _TWO):
        assert (result.icc, result.exif, result.bits) == (b"profile", b"II*\0", 16)
        assert not result.gray
        assert result.size == (4 * _H, 4 * _W)


def test_alpha_is_enlarged_by_bicubic_and_hidden_colours_do_not_bleed(tiny_model: ncsr.NCSR) -> None:
    array = scene(12, 12, 4).astype(np.float32)
    array[:, :6, 3] = 0
    photo = photo_from_array(array)
    assert photo.alpha is not None
    results = upscale_photo(photo, tiny_model, _TWO)
    for result in results:
        assert result.alpha is not None
        torch.testing.assert_close(result.alpha, imresize(photo.alpha, 4).clamp(0, 1))
    disguised = replace(photo, rgb=torch.where(photo.alpha > 0, photo.rgb, 1))
    for result, same in zip(results, upscale_photo(disguised, tiny_model, _TWO), strict=True):
        assert torch.equal(result.rgb, same.rgb)
    drawn = tiny_model.space(premultiplied(photo)[None]).sample(1, seed=0)[0, 0]
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
        ({"photo": None}, "a photograph is a path, bytes, .*, got None"),
        ({"photo": [[1, 2]]}, "a photograph is a path, bytes, .*, got "),
        ({"photo": b""}, "cannot read the photograph: it is empty"),
        ({"photo": b"text"}, "cannot read the photograph: its content is no PNG"),
        ({"photo": io.StringIO("text")}, "open it in binary mode"),
        ({"photo": torch.zeros(1, 3, 8, 8)}, r"one dense \(3, H, W\), got \(1, 3, 8, 8\)"),
        ({"photo": torch.zeros(8, 8, 3)}, r"got \(8, 8, 3\)"),
        ({"photo": torch.zeros(3, 8, 8, device="meta")}, "on meta"),
        ({"photo": torch.zeros(3, 8, 8).to_sparse()}, "sparse"),
        ({"photo": torch.full((3, 8, 8), 2.0)}, r"must lie in \[0, 1\]"),
        ({"model": 3}, "a model is a name, a path or an id on the hub, got 3"),
        ({"model": None, "scale": 2}, "the scale must be 4 or 8, got 2"),
        ({"scale": 8}, "scale 8 does not match the model that was given"),
        ({"precision": "bfloat16"}, "the model is loaded in precision"),
        ({"model": None, "precision": "int4"}, "precision must be auto, float32"),
        ({"factor": 5}, "from 1 to 4"),
        ({"factor": "2"}, "a factor is a number"),
        ({"size": 50}, r"size is \(width, height\)"),
        ({"size": (33.5, None)}, r"size is \(width, height\)"),
        ({"size": (None, None)}, "either a factor"),
        ({"size": (16, 16), "factor": 2}, "either a factor"),
        ({"factor": 2, "consistent": True}, "leave out the final size"),
        ({"samples": "3"}, "must be numbers"),
        ({"samples": 2.5}, "must be numbers"),
        ({"samples": True}, "must be numbers"),
        ({"scale": "4"}, "scale '4' does not match the model"),
        ({"seed": "x"}, "must be numbers"),
        ({"temperature": "x"}, "must be numbers"),
        ({"tile": "16"}, "whole number of LR pixels"),
        ({"temperature": np.full((8, 8), 0.8)}, r"one temperature is taken here, got a map \(8, 8\)"),
        ({"progress": 3}, "progress is a function"),
    ],
)
def test_wrong_requests(tiny_model: ncsr.NCSR, request_: dict[str, object], reason: str) -> None:
    with pytest.raises(ncsr.InputError, match=reason):
        ncsr.upscale(**{"photo": scene8(8, 8), "model": tiny_model, "samples": 1, **request_})


@pytest.mark.parametrize("kind", ["path", "bytes", "file object"])
def test_files_of_every_kind(tiny_model: ncsr.NCSR, tmp_path: Path, kind: str) -> None:
    """The same pictures, whose provenance names the same file."""
    path = tmp_path / "photo.png"
    Image.fromarray(scene8(_H, _W)).save(path)
    with path.open("rb") as file:
        photo = {"path": str(path), "bytes": path.read_bytes(), "file object": file}[kind]
        (picture,) = ncsr.upscale(photo, tiny_model, 1, seed=3)
    assert np.array_equal(picture, ncsr.upscale(scene8(_H, _W), tiny_model, 1, seed=3)[0])
    assert json.loads(picture.info["ncsr"])["photograph"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_tensors(tiny_model: ncsr.NCSR, device: torch.device, dtype: torch.dtype, channels: int) -> None:
    array = scene8(_H, _W, channels)
    tensor = torch.from_numpy(array).permute(2, 0, 1).to(device)
    tensor = tensor if dtype == torch.uint8 else (tensor / 255).to(dtype).requires_grad_()
    (result,) = ncsr.upscale(tensor, tiny_model, 1, seed=0)
    assert (result.shape, result.dtype, result.device) == ((channels, 4 * _H, 4 * _W), dtype, tensor.device)
    levels = result.float().cpu() * (1 if dtype == torch.uint8 else 255)
    expected = torch.from_numpy(ncsr.upscale(array, tiny_model, 1, seed=0)[0]).permute(2, 0, 1)
    assert (levels - expected).abs().mean() < (8 if dtype == torch.bfloat16 else 0.51)


def test_the_seed_that_was_drawn_is_given_back(tiny_model: ncsr.NCSR) -> None:
    array = scene8(_H, _W)
    pictures = ncsr.upscale(array, tiny_model, 2)
    assert isinstance(pictures, list)
    again = ncsr.upscale(array, tiny_model, 2, seed=pictures.seed)
    assert again.seed == pictures.seed
    assert all(np.array_equal(a, b) for a, b in zip(pictures, again, strict=True))


def test_sizes_are_those_of_the_command_line(tiny_model: ncsr.NCSR) -> None:
    array = scene8(18, 20)
    for how in ({"factor": 2.5}, {"size": (np.int64(50), None)}, {"size": (None, 45)}, {"size": (50, 45)}):
        assert ncsr.upscale(array, tiny_model, 1, seed=0, **how)[0].shape == (45, 50, 3)
    (whole,), (final,) = (ncsr.upscale(array / 255, tiny_model, 1, seed=0, factor=f) for f in (4, 3))
    expected = imresize(torch.from_numpy(whole).permute(2, 0, 1), 0.75).permute(1, 2, 0)
    torch.testing.assert_close(torch.from_numpy(final), expected.clamp(0, 1), rtol=0, atol=1e-5)
    (picture,) = ncsr.upscale(Image.fromarray(array), tiny_model, 1, seed=0, factor=2.5)
    assert picture.size == (50, 45)
    assert json.loads(picture.info["ncsr"])["size"] == [50, 45]


@pytest.mark.parametrize("how", [{}, {"factor": 2.5}, {"consistent": True}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_results_are_those_of_the_command_line(
    tiny_model_folder: Path, tmp_path: Path, ncsr_: Command, how: dict[str, Any], dtype: str
) -> None:
    """To the bit, also where a result is reduced or made consistent after it was rounded."""
    array = scene8(18, 20)
    array = array if dtype == "uint8" else array * np.uint16(257)
    source, output = tmp_path / "photo.png", tmp_path / "out"
    imagecodecs.imwrite(source, array)
    told = ["--factor", "2.5"] if "factor" in how else ["--consistent"] if how else []
    assert ncsr_("upscale", source, "-o", output, "-m", tiny_model_folder, "-n", "1", "--seed", "3", *told).code == 0
    (made,) = ncsr.upscale(array, str(tiny_model_folder), 1, seed=3, **how)
    np.testing.assert_array_equal(made, imagecodecs.imread(output / "photo.png"))
    if dtype == "uint8":
        (picture,) = ncsr.upscale(source, str(tiny_model_folder), 1, seed=3, **how)
        np.testing.assert_array_equal(np.array(picture), made)


def test_whatever_the_default_device_is(tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    array = scene8(8, 10)
    Image.fromarray(array).save(tmp_path / "photo.png")
    expected = ncsr.upscale(array, tiny_model, 1, seed=0)[0]
    with torch.device("meta"):
        np.testing.assert_array_equal(ncsr.upscale(array, tiny_model, 1, seed=0)[0], expected)
        np.testing.assert_array_equal(
            np.array(ncsr.upscale(tmp_path / "photo.png", tiny_model, 1, seed=0)[0]), expected
        )
        assert ncsr.uncertainty(array, tiny_model, 2, seed=0).std.shape == (3, 32, 40)


def test_the_scale_picks_or_checks_the_model(tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def load(name: str, device: str, precision: str) -> ncsr.NCSR:
        opened.append((name, precision))
        return lively_model(8 if "8" in name else 4, bound="atan", dtype=torch.float32)

    monkeypatch.setattr("ncsr.pretrained.load.load", load)
    array = scene8(_H, _W)
    assert ncsr.upscale(array, samples=1, seed=0)[0].shape[0] == 4 * _H
    assert ncsr.upscale(array, samples=1, seed=0, scale=8, precision="float32")[0].shape[0] == 8 * _H
    assert ncsr.upscale(array, samples=1, seed=0, factor=5)[0].shape[0] == 5 * _H
    assert opened == [("x4", "auto"), ("x8-small", "float32"), ("x8-small", "auto")]
    assert ncsr.upscale(array, tiny_model, 1, scale=4, precision=tiny_model.precision)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_whole_numbers_come_out_as_whole_numbers(tiny_model: ncsr.NCSR, dtype: torch.dtype) -> None:
    array = _array(str(dtype).removeprefix("torch."), 3)
    given = torch.from_numpy(np.moveaxis(array, -1, 0).copy())
    (made,), (expected,) = (ncsr.upscale(photo, tiny_model, 1, seed=0) for photo in (given, array))
    assert made.dtype == dtype
    assert np.array_equal(np.moveaxis(made.numpy(), 0, -1), expected)


def test_the_tile_that_is_told_is_the_one_that_was_used(tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where memory ran out, and of any type."""
    photo, space = Image.fromarray(scene8(40, 64)), ncsr.NCSR.space

    def hungry(self: ncsr.NCSR, lr: torch.Tensor, **how: object) -> object:
        if lr[0, 0].numel() > 50 * 50:
            raise MemoryError
        return space(self, lr, **how)  # type: ignore[arg-type]

    (whole,) = ncsr.upscale(photo, tiny_model, 1, seed=0, tile=np.int64(64))  # type: ignore[call-overload]
    monkeypatch.setattr(ncsr.NCSR, "space", hungry)
    (tiled,) = ncsr.upscale(photo, tiny_model, 1, seed=0)
    assert [json.loads(image.info["ncsr"])["tile"] for image in (whole, tiled)] == [None, 32]


def test_progress_is_told(tiny_model: ncsr.NCSR) -> None:
    told: list[tuple[int, int]] = []
    ncsr.upscale(scene8(20, 40), tiny_model, 2, tile=16, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 12)
    assert told[-1] == (12, 12)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_unknown_device(tiny_model_folder: Path) -> None:
    with pytest.raises(ncsr.InputError, match="no device 'abacus' on this machine"):
        ncsr.upscale(scene8(8, 8), tiny_model_folder, 1, device="abacus")


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


_SNIPPET = """
import numpy as np
from PIL import Image

import ncsr

ncsr.upscale("photo.png")[0].save("large.png")
ncsr.upscale(Image.new("RGB", (8, 8)), samples=2, seed=0)[1].resize((4, 4))
levels = ncsr.upscale(np.zeros((8, 8), np.uint8), tile=16)[0].astype(np.float32)
reveal_type(ncsr.upscale("photo.png"))
reveal_type(ncsr.upscale(np.zeros((8, 8), np.uint16)))
ncsr.upscale(b"content", scale=8, factor=5).seed.bit_length()
ncsr.upscale("photo.png")[0].astype(np.float32)
"""


def test_a_strict_type_checker_knows_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what has a part in these types is looked into: PyTorch alone would take most of a minute."""
    (tmp_path / "snippet.py").write_text(_SNIPPET)
    skipped = "torch.*,ncsr.config,ncsr.images.*,ncsr.model,ncsr.pretrained.*,ncsr.space.*,ncsr.upscaling.canvas"
    skipped += ",ncsr.upscaling.image,ncsr.upscaling.final_size,ncsr.upscaling.tile_size,ncsr.upscaling.tiling"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\n[mypy-{skipped}]\nfollow_imports = skip\n")
    monkeypatch.setenv("MYPYPATH", str(Path(ncsr.__file__).parents[1]))
    how = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")]
    out, _, _ = mypy.api.run([*how, "--follow-imports=silent", "--no-error-summary", str(tmp_path / "snippet.py")])
    revealed, array, error = out.splitlines()
    assert 'Revealed type is "ncsr.upscaling.api.Pictures[PIL.Image.Image]"' in revealed.replace("builtins.", "")
    assert "ndarray" in array
    assert "unsignedinteger" in array
    assert 'error: "Image" has no attribute "astype"' in error


def test_what_is_noteworthy_of_a_file_is_a_warning(tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    pages = [Image.fromarray(scene8(_H, _W, seed=i)) for i in range(2)]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match=r"two\.tif: .*page") as caught:
        ncsr.upscale(tmp_path / "two.tif", tiny_model, 1, seed=0)
    assert [warning.filename for warning in caught] == [__file__]  # whose line is shown with it
