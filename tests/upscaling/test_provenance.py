"""Records of origin: what they say, and what becomes of those that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import ncsr
from ncsr import InputError
from ncsr.images import photo_from_array, to_array, write_pixels
from ncsr.runtime.files import file_hash
from ncsr.upscaling.api import upscale_photo
from ncsr.upscaling.provenance import Provenance, model_name, provenance_of
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import scene8


def _origin(model: ncsr.NCSR, temperature: float = 0.5, name: str | None = "tiny") -> Provenance:
    return provenance_of(model, name, SampleRequest(2, temperature, 7, first=3))


def test_it_says_what_decides_the_samples(tiny_model: ncsr.NCSR) -> None:
    origin = _origin(tiny_model)
    assert json.loads(origin.record()) == {
        "ncsr": ncsr.__version__,
        "picture": "sample",
        "notice": "synthetic detail: not for identification",
        "model": "tiny",
        "model_hash": origin.model_hash,
        "scale": 4,
        "seed": 7,
        "samples": [3, 4],
        "temperature": 0.5,
        "tile": None,
        "consistent": False,
        "precision": "float32",
        "device": "cpu",
        "photograph": None,
    }
    assert (origin.of("hash", (20, 30), 16).tile, origin.of("hash", (20, 30), 30).tile) == (16, None)
    smooth = _origin(tiny_model, 0)
    assert (smooth.picture, smooth.seed) == ("most probable image", None)
    assert _origin(tiny_model, name="caf\u00e9 \U0001f642").record().isascii()


def test_names_tell_no_folders(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert [model_name(name) for name in ("x4-small", "org/name", tmp_path / "run")] == ["x4-small", "org/name", "run"]
    assert model_name("a\udcff") == "a?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 7000, "(nested too deeply|Expecting value)"),  # by how deep the process may go
        ("x" * 9000, "longer than 8000"),
        ("{", "Expecting property name"),
        ("[1]", "valid dictionary"),
        ('{"ncsr": 1, "scale": "4", "tile": "8", "seed": -1}', "more faults"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.png"
    write_pixels(path, scene8(4, 4), None, None, None, text)
    with pytest.raises(InputError, match=rf"a\.png: what is written in it .* cannot be used: .*{reason}"):
        ncsr.provenance(path)


def test_a_sidecar_speaks_for_a_picture_that_is_silent(tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    picture, sidecar = tmp_path / "a.bmp", tmp_path / "a.bmp.json"
    write_pixels(picture, scene8(4, 4), None, None)
    assert ncsr.provenance(picture) is None
    sidecar.write_text(_origin(tiny_model).record())
    assert ncsr.provenance(picture) == ncsr.provenance(sidecar) == _origin(tiny_model)
    with pytest.raises(ncsr.InputError, match="cannot read"):
        ncsr.provenance(tmp_path / "none.json")
    with pytest.raises(ncsr.InputError, match="there is no such file"):
        ncsr.provenance(tmp_path / "none.png")


def test_pil_images_carry_it_and_pillow_can_write_it(
    tiny_model: ncsr.NCSR, tiny_model_folder: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(scene8(18, 20)).save(photo)
    second = ncsr.upscale(photo, tiny_model_folder, 2, seed=7, temperature=0.5, tile=16)[1]
    expected = _origin(tiny_model).of(file_hash(photo), (18, 20), 16).showing([1])
    assert second.info["ncsr"] == expected.record()
    for suffix in ("jpg", "webp"):
        second.save(tmp_path / f"a.{suffix}", xmp=second.info["xmp"])
        assert ncsr.provenance(tmp_path / f"a.{suffix}") == expected
    text = PngInfo()
    text.add_text("ncsr", second.info["ncsr"])
    second.save(tmp_path / "a.png", pnginfo=text)
    assert ncsr.provenance(tmp_path / "a.png") == expected
    (unnamed,) = ncsr.upscale(Image.open(photo), tiny_model, 1, temperature=0)
    record = json.loads(unnamed.info["ncsr"])
    assert (record["model"], record["photograph"], record["samples"]) == (None, None, [0])


def test_a_request_may_begin_with_a_later_sample(tiny_model: ncsr.NCSR) -> None:
    photo = photo_from_array(scene8(18, 20))
    for tile in (None, 16):
        three = upscale_photo(photo, tiny_model, SampleRequest(3, 0.8, 1, tile))
        (third,) = upscale_photo(photo, tiny_model, SampleRequest(1, 0.8, 1, tile, first=2))
        np.testing.assert_array_equal(to_array(third), to_array(three[2]))
