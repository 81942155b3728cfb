"""Pictures that compare samples: the grid, the contact sheet and the standard-deviation map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ncsr.errors import InputError
from ncsr.images.convert import Array, picture_of
from ncsr.images.origin import Provenance
from ncsr.images.pil import recorded

FULL_WHITE = 32  # 8-bit grey levels of standard deviation that the map shows as white
_GAP, _LABEL, _LONGEST = 12, 28, 512


def deviation_map(deviation: Tensor) -> Image.Image:
    """A gray picture of a standard deviation (H, W) in [0, 1]: black is none, white 32 grey levels of 255 or more."""
    levels = (deviation * 255 / FULL_WHITE).clamp(0, 1)
    return Image.fromarray((levels * 255).round().byte().cpu().numpy())


def grid(images: Tensor, columns: int = 4) -> Image.Image:
    """Images of one size in rows, with gaps on white, every pixel as it is.

    Args:
        images: (..., C, H, W) with C = 3 or 1, floating point in [0, 1] (values beyond are clipped) or uint8. Leading
            axes are flattened in order; for the result of `space.sample` that is sample after sample.
        columns: most images in a row.

    Returns:
        An image whose files record that it is a grid of this package, with a notice that detail is synthetic. The
        record names no model, since tensors do not tell theirs.

    Raises:
        InputError: no such images, or values that are not finite.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"a grid is made of a tensor (..., 3, H, W), as space.sample gives it, got {type(images).__name__}: "
            "torch.stack makes one of a list of tensors"
        )
    if images.dim() < 3 or images.shape[-3] not in (1, 3) or not images.numel() or columns < 1:
        raise InputError(f"a grid has at least one column of images (..., 3, H, W), got {tuple(images.shape)}")
    if images.dtype != torch.uint8:
        if not images.is_floating_point() or not bool(images.isfinite().all()):
            raise InputError(f"a grid shows images in uint8 or finite floating point, got {images.dtype}")
        images = (images.detach().clamp(0, 1) * 255).round().byte()
    pictures = [picture_of(each) for each in images.reshape(-1, *images.shape[-3:]).movedim(1, -1).cpu().numpy()]
    sheet, places = _blank(pictures[0].size, len(pictures), columns, 0)
    for place, picture in zip(places, pictures, strict=True):
        sheet.paste(picture, place)
    return recorded(sheet, Provenance(ncsr=version("ncsr"), picture="grid").record())


def contact_sheet(panels: Sequence[tuple[str, Image.Image]], columns: int = 4) -> Image.Image:
    """Labelled pictures in rows, each at most 512 pixels long, on white.

    Args:
        panels: label and picture, in reading order; all are shown at the size of the largest.
        columns: most pictures in a row.
    """
    cell = _shown_size(max(picture.width for _, picture in panels), max(picture.height for _, picture in panels))
    sheet, places = _blank(cell, len(panels), columns, _LABEL)
    font, draw = ImageFont.load_default(size=16), ImageDraw.Draw(sheet)
    for (x, y), (label, picture) in zip(places, panels, strict=True):
        enlarge = picture.width < cell[0]  # the input: its pixels are to be seen as they are
        shown = picture.convert("RGB").resize(cell, Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS)
        sheet.paste(shown, (x, y + _LABEL))
        draw.text((x, y + 4), label, fill="black", font=font)
    return sheet


def thumbnail(picture: Image.Image) -> Image.Image:
    """The picture in RGB, as a sheet would show it among others of its size: at most 512 pixels long."""
    return picture.convert("RGB").resize(_shown_size(*picture.size), Image.Resampling.LANCZOS)


def panel_of(pixels: Array) -> Image.Image:
    """(H, W, C) pixels, uint8 or uint16, as a panel of a sheet: a thumbnail, transparency laid on white."""
    return thumbnail(picture_of(pixels, transparency=False))


def _blank(cell: tuple[int, int], count: int, columns: int, label: int) -> tuple[Image.Image, list[tuple[int, int]]]:
    """A white sheet, and the places on it of `count` cells, each with room for a label above the picture."""
    columns = min(columns, count)
    width, height = cell[0] + _GAP, cell[1] + label + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, math.ceil(count / columns) * height + _GAP), "white")
    return sheet, [(_GAP + i % columns * width, _GAP + i // columns * height) for i in range(count)]


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """A picture's width and height in a sheet: as they are, or shrunk to at most 512 pixels."""
    shrink = min(1.0, _LONGEST / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))
