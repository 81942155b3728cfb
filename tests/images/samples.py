"""Noise images of every kind, made without the code under test, and what several tests ask of a photograph."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ncsr.images import Photo, Source, to_array

HEIGHT, WIDTH = 5, 7
LARGE = 70, 90
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_WINDOWS = [(0, 0, *LARGE), (0, 0, 1, 1), (30, 41, 35, 60), (15, 0, 49, 33), (64, 80, 70, 90)]


def noise(channels: int, dtype: type = np.uint8, seed: int = 0) -> NDArray[np.integer]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (HEIGHT, WIDTH, channels), dtype=dtype, endpoint=True)


def pil_image(mode: str) -> Image.Image:
    """A noise image of a mode, made without the code under test."""
    if mode == "P":
        return Image.fromarray(noise(3)).quantize(16)
    if mode == "P+tRNS":
        image = Image.fromarray(noise(3)).quantize(16)
        image.info["transparency"] = 3
        return image
    if mode == "1":
        return Image.fromarray(noise(1)[..., 0]).convert("1")
    if mode == "I;16":
        return Image.fromarray(noise(1, np.uint16)[..., 0])
    channels = len(mode)
    return (
        Image.fromarray(noise(channels).squeeze(), "CMYK")
        if mode == "CMYK"
        else Image.fromarray(noise(channels).squeeze())
    )


def exif_fields(orientation: int = 1, suffix: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif.update({0x010F: "Maker of cameras", 0x0112: orientation})
    if suffix != ".tif":  # there these would be the sizes of the file itself
        exif.update({0x0100: 999, 0x0101: 998})
    exif[0x8769] = {0xA002: 999, 0xA003: 998, 0x9003: "2024:01:02 03:04:05", 0x927C: b"maker's note"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    block = exif.tobytes()
    exif = Image.Exif()
    exif.load(block)  # Pillow saves inner directories into TIFF only when they were loaded
    return exif


def exif_block(exif: Image.Exif) -> bytes:
    return exif.tobytes().removeprefix(b"Exif\0\0")


def levels(photo: Photo) -> NDArray[np.integer]:
    return to_array(photo, np.uint16 if photo.bits == 16 else np.uint8)


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    if kind == "png16":
        return bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257))
    if kind in ("tif", "tif-zlib"):
        tifffile.imwrite(buffer, pixels, photometric="rgb", compression="zlib" if kind == "tif-zlib" else None)
    else:
        Image.fromarray(pixels).save(buffer, {"jpg": "JPEG"}.get(kind, kind))
    return buffer.getvalue()


def large_noise(channels: int, dtype: str = "uint16") -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, (*LARGE, channels), dtype=dtype, endpoint=True)


def check_windows(source: Source, photo: Photo) -> None:
    assert (source.size, source.gray, source.bits) == (photo.size, photo.gray, photo.bits)
    assert (source.icc, source.exif) == (photo.icc, photo.exif)
    assert source.transparent == (photo.alpha is not None)
    for top, left, bottom, right in _WINDOWS:
        window = source.window(top, left, bottom, right)
        assert torch.equal(window.rgb, photo.rgb[:, top:bottom, left:right])
        assert (window.alpha is None) == (photo.alpha is None)
        if window.alpha is not None and photo.alpha is not None:
            assert torch.equal(window.alpha, photo.alpha[:, top:bottom, left:right])
