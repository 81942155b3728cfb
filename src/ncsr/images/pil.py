"""Photographs from and to PIL images, and images whose files record their origin."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ncsr.errors import InputError
from ncsr.images.cmyk import rgb_from_cmyk
from ncsr.images.convert import Array, to_array
from ncsr.images.photo import Photo
from ncsr.images.png import unpacked_raw_profile
from ncsr.images.raster import EXIF_MARK, Raster, gray_if_equal, upright_raster
from ncsr.images.xmp import carried, packet_of

_SIMPLER_MODE = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_XMP_TAG = 700  # of TIFF
_PHOTO_MODES = {*_SIMPLER_MODE, "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16L", "I;16B", "I;16N"}


class RecordedImage(Image.Image):
    """A PIL image whose `save` writes the record of its origin, `info["ncsr"]`, into PNG, JPEG, WebP, AVIF and TIFF.

    Images derived from it, by `crop` or `resize`, are ordinary ones.
    """

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """As every PIL image does; `pnginfo`, `xmp` or `tiffinfo` in `params` replace the record."""
        packet, texts = self.info["xmp"], PngInfo()
        texts.add_text("ncsr", self.info["ncsr"])
        texts.add_itxt("XML:com.adobe.xmp", packet.decode())
        super().save(fp, format, **{"pnginfo": texts, "xmp": packet, "tiffinfo": {_XMP_TAG: packet}, **params})


def recorded(image: Image.Image, record: str, packet: bytes | None = None) -> RecordedImage:
    """A `RecordedImage` with a record of its origin and the XMP packet that holds it.

    It shares its pixels with `image`, which must not be used any more.
    """
    made = RecordedImage()
    made.__dict__.update(image.__dict__)
    made.info |= {"ncsr": record, "xmp": packet or packet_of(record)}
    return made


def photo_from_pil(image: Image.Image) -> Photo:
    """Make an upright photo of a PIL image, with the ICC profile, EXIF, XMP and resolution in its `info`.

    PIL keeps the EXIF of TIFF files elsewhere; use `read_photo` for these.

    Raises:
        InputError: if the image cannot be decoded, or its mode is no photograph's (32 bits, floating point, LAB, HSV).
    """
    return raster_from_pil(image).photo()


def raster_from_pil(image: Image.Image, notes: tuple[str, ...] = ()) -> Raster:
    """`photo_from_pil`, as stored values."""
    pixels, icc = stored_pixels(image)
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    block = info.get("exif") or unpacked_raw_profile(str(info.get("Raw profile type exif", "")).encode())
    raster = Raster(pixels, icc, dpi=info.get("dpi"), notes=notes)
    return upright_raster(raster, block, xmp=xmp.encode() if isinstance(xmp, str) else xmp)


def stored_pixels(image: Image.Image) -> tuple[Array, bytes | None]:
    """The values (H, W, C) that the image stores, CMYK converted to RGB, and their ICC profile.

    Raises:
        InputError: as `photo_from_pil`.
    """
    if image.mode not in _PHOTO_MODES:
        raise InputError(f"a PIL image must be gray, colour, CMYK or I;16, got mode {image.mode}: convert it first")
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the PIL image cannot be decoded: {error}") from error
    mode = _SIMPLER_MODE.get(image.mode, image.mode)
    if mode in ("L", "RGB") and image.has_transparency_data:
        mode += "A"
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    array = array[..., None] if array.ndim == 2 else array
    icc = image.info.get("icc_profile") or None
    if mode == "CMYK":
        array, icc = rgb_from_cmyk(array, icc), None
    elif image.mode in ("P", "PA") and icc is None:
        array = gray_if_equal(array)
    return array, icc


def is_deep(photo: Photo) -> bool:
    """Whether the photo as a PIL image has 16 bits."""
    return photo.bits == 16 and photo.gray and photo.alpha is None


def to_pil(photo: Photo, record: str | None = None) -> Image.Image:
    """The photo as a PIL image: L, LA, RGB or RGBA, and I;16 for 16-bit gray without alpha.

    PIL has no 16-bit colour: it is rounded to 8 bits. ICC profile, EXIF, XMP and resolution are in the image's `info`.
    With a record of its origin (see `write_pixels`), the image is a `RecordedImage`, whose `info` has it as "ncsr" and
    merged into "xmp".
    """
    image = Image.fromarray(to_array(photo, np.uint16 if is_deep(photo) else np.uint8))
    if photo.icc is not None:
        image.info["icc_profile"] = photo.icc
    if photo.exif is not None:
        image.info["exif"] = EXIF_MARK + photo.exif
    if photo.dpi is not None:
        image.info["dpi"] = photo.dpi
    packet = carried(photo.xmp, record, *photo.size)
    if record is not None:
        return recorded(image, record, packet)
    if packet:
        image.info["xmp"] = packet
    return image
