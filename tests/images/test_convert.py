"""Photographs from and to arrays and PIL images."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import Photo, photo_from_array, photo_from_pil, to_array, to_pil
from tests.images.samples import HEIGHT, SRGB_PROFILE, WIDTH, encoded, exif_fields, noise, pil_image

pytestmark = pytest.mark.filterwarnings("error")


def test_arrays_of_the_other_byte_order() -> None:
    stored = noise(3, np.uint16)
    swapped = stored.astype(stored.dtype.newbyteorder())
    back = to_array(photo_from_array(swapped), swapped.dtype)
    np.testing.assert_array_equal(back, stored)
    assert back.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, ">u2"])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_come_back_as_they_went(dtype: str | type, channels: int | None) -> None:
    array = noise(channels or 1, np.uint16)
    array = (array >> 8).astype(dtype) if dtype == np.uint8 else array.astype(dtype)
    array = array / 65536 if array.dtype.kind == "f" else array
    array = array[..., 0] if channels is None else array
    before = array.copy()
    photo = photo_from_array(array)
    assert photo.bits == (8 if dtype == np.uint8 else 16)
    assert photo.rgb.min() >= 0
    assert photo.rgb.max() <= 1
    assert photo.rgb.max() > 0.9
    photo.rgb.add_(0)  # its own memory, writable
    again = to_array(photo, array.dtype.newbyteorder("="), flat_gray=array.ndim == 2)
    np.testing.assert_allclose(again, array, atol=1e-6 if array.dtype.kind == "f" else 0)
    assert again.shape == array.shape
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4,)), "shape"),
        (np.zeros((4, 4, 5)), "shape"),
        (np.zeros((0, 4, 3)), "shape"),
        (np.zeros((1, 4, 4, 3)), "shape"),
        (np.full((4, 4), 255.0), r"\[0, 1\]"),
        (np.full((4, 4), np.nan), r"\[0, 1\]"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), np.complex64), "complex64"),
    ],
)
def test_arrays_that_are_no_photographs(array: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        photo_from_array(array)
    with pytest.raises(InputError, match="int32"):
        to_array(Photo(torch.zeros(3, 2, 2)), np.int32)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16", "I;16B", "CMYK", "YCbCr", "RGBa", "La"]
)
def test_pil_images(mode: str) -> None:
    image = pil_image({"I;16B": "I;16", "YCbCr": "RGB", "RGBa": "RGBA", "La": "LA"}.get(mode, mode))
    if mode == "I;16B":
        image = Image.frombytes("I;16B", image.size, np.asarray(image).astype(">u2").tobytes())
    elif mode in ("YCbCr", "RGBa", "La"):
        image = image.convert(mode)
    photo = photo_from_pil(image)
    again = to_pil(photo)
    kept = {
        "1": "L",
        "P": "RGB",
        "P+tRNS": "RGBA",
        "I;16B": "I;16",
        "CMYK": "RGB",
        "YCbCr": "RGB",
        "RGBa": "RGBA",
        "La": "LA",
    }
    assert again.mode == kept.get(mode, mode)
    expected = np.asarray(image) if mode == "I;16B" else np.asarray(image.convert(again.mode))
    np.testing.assert_array_equal(np.asarray(again), expected)


def test_pil_images_carry_metadata_and_are_turned_upright() -> None:
    image = pil_image("RGB")
    image.info.update(icc_profile=SRGB_PROFILE, exif=exif_fields(6).tobytes())
    again = to_pil(photo_from_pil(image))
    assert again.size == (HEIGHT, WIDTH)
    assert again.info["icc_profile"] == SRGB_PROFILE
    assert again.getexif()[0x0112] == 1
    for mode in ("F", "I", "HSV"):
        with pytest.raises(InputError, match=f"mode {mode}"):
            photo_from_pil(Image.new(mode, (2, 2)))
    with pytest.raises(InputError, match="cannot be decoded"):
        photo_from_pil(Image.open(io.BytesIO(encoded("png")[:5000])))
