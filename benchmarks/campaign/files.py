"""Small image files of every kind that is read, made from numbers, without the code under test."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

SIZE = 26, 21  # height, width: odd, and larger than a crop of training
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def picture(height: int, width: int, channels: int, bits: int = 8) -> NDArray[Any]:
    """A smooth picture with grain, (H, W, channels)."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 3 + k) * np.cos(y / 4 - k) for k in range(channels)], -1)
    values = 0.5 + 0.4 * waves + np.random.default_rng(0).uniform(-0.08, 0.08, waves.shape)
    return np.rint(values * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def image_files() -> list[tuple[str, str, bytes]]:
    """Kind, suffix and content."""
    return [*_png_files(), *_pillow_files(), *_tiff_files(), *newer_files()]


def png(values: NDArray[Any], colour: int, bits: int, interlaced: bool = False, between: bytes = b"") -> bytes:
    """A PNG file of (H, W, channels) values; `between` goes before the pixels."""
    height, width, _ = values.shape
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_rows(values[y::dy, x::dx], bits) for y, x, dy, dx in passes if values[y::dy, x::dx].size)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    parts = (chunk(b"IHDR", header), between, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_right_checksums(data: bytes) -> bytes:
    """A PNG file whose chunks, as far as they can be told, have the checksums of what they hold."""
    place = 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        data = data[:end] + struct.pack(">I", zlib.crc32(data[place + 4 : end])) + data[end + 4 :]
        place = end + 4
    return data


def _rows(values: NDArray[Any], bits: int) -> bytes:
    """Rows of packed values, each behind a zero."""
    rows = values.reshape(len(values), -1)
    if bits >= 8:
        packed = rows.astype(">u2" if bits == 16 else "u1")
        return b"".join(b"\0" + row.tobytes() for row in packed)
    each = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in each.reshape(len(rows), -1))


def _png_files() -> Iterator[tuple[str, str, bytes]]:
    palette = chunk(b"PLTE", np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    extra = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))
    extra += chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)) + chunk(b"eXIf", _exif(6))
    for colour, channels, depths in (
        (0, 1, (1, 2, 4, 8, 16)),
        (3, 1, (1, 2, 4, 8)),
        (4, 2, (8, 16)),
        (2, 3, (8, 16)),
        (6, 4, (8, 16)),
    ):
        for bits in depths:
            before = palette[:0] if colour != 3 else chunk(b"PLTE", palette[8 : 8 + 3 * 2**bits])
            values = picture(*SIZE, channels, bits)
            yield f"png colour {colour} {bits} bits", ".png", png(values, colour, bits, between=before)
            yield f"png colour {colour} {bits} bits interlaced", ".png", png(values, colour, bits, True, before)
    yield "png with profile and exif", ".png", png(picture(*SIZE, 3), 2, 8, between=extra)
    yield (
        "png palette transparent",
        ".png",
        png(picture(*SIZE, 1), 3, 8, between=palette + chunk(b"tRNS", bytes(range(9)))),
    )


def _pillow_files() -> Iterator[tuple[str, str, bytes]]:
    rgb, gray, rgba = (Image.fromarray(picture(*SIZE, n).squeeze()) for n in (3, 1, 4))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = b"Exif\0\0" + _exif(6)
    large = Image.fromarray(picture(90, 70, 3))
    for kind, image, options in (
        ("baseline", rgb, {}),
        ("4:4:4", rgb, {"subsampling": 0}),
        ("progressive", large, {"progressive": True}),
        ("optimised", large, {"optimize": True, "quality": 95}),
        ("restarts", large, {"restart_marker_blocks": 2}),
        ("gray", gray, {}),
        ("gray progressive", gray, {"progressive": True}),
        ("CMYK", rgb.convert("CMYK"), {}),
        ("profile and exif", rgb, {"icc_profile": profile, "exif": exif}),
    ):
        yield f"jpeg {kind}", ".jpg", _saved(image, "JPEG", **options)
    for kind, image, options in (
        ("lossy", large, {}),
        ("lossless", large, {"lossless": True}),
        ("lossy alpha", rgba, {}),
        ("lossless alpha", rgba, {"lossless": True}),
        ("profile and exif", rgb, {"icc_profile": profile, "exif": exif}),
        ("animated", rgb, {"save_all": True, "append_images": [rgb.rotate(180)]}),
    ):
        yield f"webp {kind}", ".webp", _saved(image, "WEBP", **options)
    for kind, image in (
        ("1 bit", gray.convert("1")),
        ("gray", gray),
        ("palette", rgb.quantize(16)),
        ("24 bits", rgb),
        ("32 bits", rgba),
    ):
        yield f"bmp {kind}", ".bmp", _saved(image, "BMP")


def _tiff_files() -> Iterator[tuple[str, str, bytes]]:
    rgb, gray, rgba = picture(*SIZE, 3), picture(*SIZE, 1)[..., 0], picture(*SIZE, 4)
    large, deep = picture(90, 70, 3), picture(*SIZE, 3, 16)
    for kind, array, options in (
        ("plain", rgb, {}),
        ("16 bits", deep, {}),
        ("gray", gray, {}),
        ("gray 16 bits big-endian", picture(*SIZE, 1, 16)[..., 0], {"byteorder": ">"}),
        ("alpha", rgba, {"extrasamples": ["unassalpha"]}),
        ("premultiplied", rgba, {"extrasamples": ["assocalpha"]}),
        ("big", rgb, {"bigtiff": True}),
        ("strips", large, {"rowsperstrip": 7}),
        ("tiles", large, {"tile": (32, 32)}),
        ("planes", rgb.transpose(2, 0, 1).copy(), {"planarconfig": "separate"}),
        ("LZW", large, {"compression": "lzw", "rowsperstrip": 20}),
        ("deflate predictor", deep, {"compression": "zlib", "predictor": True}),
        ("packbits", rgb, {"compression": "packbits"}),
        ("zstd tiles", large, {"compression": "zstd", "tile": (32, 32)}),
        ("JPEG tiles", large, {"compression": "jpeg", "tile": (32, 32)}),
        ("CMYK", rgba, {"photometric": "separated"}),
        ("1 bit", picture(*SIZE, 1, 1)[..., 0].astype(bool), {"photometric": "minisblack"}),
        ("white is zero", gray, {"photometric": "miniswhite"}),
        ("deflate strips", large, {"compression": "zlib", "rowsperstrip": 9}),
    ):
        buffer = io.BytesIO()
        own = {"photometric": "rgb" if array.ndim == 3 else "minisblack", "metadata": None, **options}
        tifffile.imwrite(buffer, array, **own)
        yield f"tiff {kind}", ".tif", buffer.getvalue()
    image = Image.fromarray(rgb)
    yield "tiff palette", ".tif", _saved(image.quantize(16), "TIFF")
    yield "tiff pages", ".tif", _saved(image, "TIFF", save_all=True, append_images=[image.rotate(180)])


def newer_files() -> Iterator[tuple[str, str, bytes]]:
    """GIF, AVIF, JPEG XL, JPEG 2000 and, if pillow-heif is here, HEIC."""
    large, rgb, gray, rgba = picture(90, 70, 3), picture(*SIZE, 3), picture(*SIZE, 1)[..., 0], picture(*SIZE, 4)
    deep, exif = picture(*SIZE, 3, 16), b"Exif\0\0" + _exif(6)
    image, other = Image.fromarray(rgb), Image.fromarray(large)
    yield "gif", ".gif", _saved(other.quantize(64), "GIF")
    yield "gif transparent", ".gif", _saved(image.quantize(16), "GIF", transparency=3)
    yield "gif animated", ".gif", _saved(image, "GIF", save_all=True, append_images=[image.rotate(180)])
    for kind, values, options in (
        ("lossless", rgb, {"level": 100}),
        ("lossy", large, {"level": 60}),
        ("gray", gray, {"level": 100}),
        ("alpha", rgba, {"level": 100}),
        ("10 bits", deep >> 6, {"level": 100, "bitspersample": 10}),
        ("12 bits gray", deep[..., 0] >> 4, {"level": 100, "bitspersample": 12}),
    ):
        yield f"avif {kind}", ".avif", bytes(imagecodecs.avif_encode(values, **options))
    yield "avif with exif", ".avif", _saved(image, "AVIF", exif=exif)
    yield "avif animated", ".avif", _saved(image, "AVIF", save_all=True, append_images=[image.rotate(180)])
    for kind, values, options in (
        ("lossless", rgb, {"lossless": True}),
        ("lossy", large, {"distance": 1.0}),
        ("gray", gray, {"lossless": True}),
        ("alpha", rgba, {"lossless": True}),
        ("16 bits", deep, {"lossless": True, "usecontainer": True}),
    ):
        yield f"jxl {kind}", ".jxl", bytes(imagecodecs.jpegxl_encode(values, **options))
    for kind, values, options in (
        ("lossless", rgb, {"reversible": True}),
        ("lossy", large, {"level": 40}),
        ("gray", gray, {}),
        ("alpha", rgba, {}),
        ("12 bits", deep >> 4, {"bitspersample": 12}),
        ("stream", deep, {"codecformat": "j2k"}),
    ):
        yield f"jp2 {kind}", ".jp2", bytes(imagecodecs.jpeg2k_encode(values, **options))
    if importlib.util.find_spec("pillow_heif") is not None:
        from pillow_heif import from_bytes, from_pillow

        for kind, picture_ in (
            ("lossy", from_pillow(other)),
            ("gray", from_pillow(Image.fromarray(gray))),
            ("alpha", from_pillow(Image.fromarray(rgba))),
            ("10 bits", from_bytes("RGB;16", SIZE[::-1], deep.tobytes())),
        ):
            buffer = io.BytesIO()
            picture_.save(buffer, quality=90, exif=exif)
            yield f"heic {kind}", ".heic", buffer.getvalue()


def _exif(orientation: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
