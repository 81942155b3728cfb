"""Pictures that compare samples: the contact sheet and the standard-deviation map."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ncsr.images.convert import Array, picture_of

FULL_WHITE = 32  # 8-bit grey levels of standard deviation that the map shows as white
_GAP, _LABEL, _LONGEST = 12, 28, 512


def deviation_map(deviation: Tensor) -> Image.Image:
    """A gray picture of a standard deviation (H, W) in [0, 1]: black is none, white 32 grey levels of 255 or more."""
    levels = (deviation * 255 / FULL_WHITE).clamp(0, 1)
    return Image.fromarray((levels * 255).round().byte().cpu().numpy())


def contact_sheet(panels: Sequence[tuple[str, Image.Image]], columns: int = 4) -> Image.Image:
    """Labelled pictures in rows, each at most 512 pixels long, on white.

    Args:
        panels: label and picture, in reading order; all are shown at the size of the largest.
        columns: most pictures in a row.
    """
    cell = _shown_size(max(picture.width for _, picture in panels), max(picture.height for _, picture in panels))
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (columns * (cell[0] + _GAP) + _GAP, rows * (cell[1] + _LABEL + _GAP) + _GAP)
    sheet, font = Image.new("RGB", size, "white"), ImageFont.load_default(size=16)
    draw = ImageDraw.Draw(sheet)
    for index, (label, picture) in enumerate(panels):
        x = _GAP + index % columns * (cell[0] + _GAP)
        y = _GAP + index // columns * (cell[1] + _LABEL + _GAP)
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


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """A picture's width and height in a sheet: as they are, or shrunk to at most 512 pixels."""
    shrink = min(1.0, _LONGEST / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))
