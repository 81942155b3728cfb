"""Results of other sizes than the model's scale gives: enlarged by the model, then reduced by bicubic."""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

from ncsr.errors import InputError, brief
from ncsr.ops.projection import Rows
from ncsr.ops.resize_rows import resize_rows
from ncsr.upscaling.consistency import premultiplied_rows, straight_rows


class FinalSize(NamedTuple):
    """The size asked for: a factor, or a width or a height in pixels (the other follows), or both of these."""

    factor: float | None = None
    width: int | None = None
    height: int | None = None

    def check(self, scale: int, consistent: bool) -> None:
        """Check all that does not depend on the photograph.

        Args:
            scale: of the model.
            consistent: whether results are to reduce to the photograph, which no other size than the model's does.

        Raises:
            InputError: no size, or both a factor and a size; a factor beyond 1 to the scale; `consistent`.
        """
        sides = [side for side in (self.width, self.height) if side is not None]
        if (self.factor is None) == (not sides) or min(sides, default=1) < 1:
            raise InputError("a final size is either a factor, or a width or a height from 1 pixel up or both")
        if not isinstance(self.factor, Real | None):
            raise InputError(f"a factor is a number, got {brief(self.factor)}")
        if self.factor is not None and not 1 <= self.factor <= scale:
            more = "; scale 8 gives more" if scale < self.factor <= 8 else ""
            raise InputError(f"the factor must be from 1 to {scale}, the model's scale, got {self.factor:g}{more}")
        if consistent:
            raise InputError(
                "a consistent image is one of the model's own size, whose reduction is the photograph: leave out the "
                "final size, or consistent"
            )

    def of(self, size: tuple[int, int], scale: int) -> tuple[int, int] | None:
        """(H, W) of the result of a photograph of (H, W) = `size`; None where the model gives just that size.

        Raises:
            InputError: the result would be smaller than the photograph, larger than the model's, or distorted.
        """
        height, width = size
        if self.factor is not None:
            new_height, new_width = (math.ceil(self.factor * side - 1e-6) for side in size)
        else:
            new_height = self.height or -(-(self.width or 0) * height // width)
            new_width = self.width or -(-(self.height or 0) * width // height)
        asked = f"the photograph has {width} x {height} pixels, and {new_width} x {new_height} are asked for"
        if (new_height + 1) * width < (new_width - 1) * height or (new_width + 1) * height < (new_height - 1) * width:
            raise InputError(f"{asked}, which would distort it: give the width or the height alone, {new_width}x")
        if new_height < height or new_width < width:
            raise InputError(f"{asked}: there is nothing to enlarge")
        if new_height > scale * height or new_width > scale * width:
            more = "take scale 8, or " if new_height <= 8 * height and new_width <= 8 * width else ""
            most = f"{scale * width} x {scale * height}"
            raise InputError(f"{asked}, and the model enlarges by {scale}: {more}ask for at most {most}")
        new = new_height, new_width
        return None if new == (scale * height, scale * width) else new


def reduced(rows: Rows, size: tuple[int, int], to: tuple[int, int], transparent: bool, top: int | None) -> Rows:
    """The rows of an enlarged image reduced as MATLAB's `imresize(image, to)` does, colours times alpha.

    Args:
        rows: of the enlarged image, in [0, 1].
        size: (H, W) of it.
        to: (H, W) of the result.
        transparent: whether its last channel is alpha.
        top: the largest level; None for floating point. Levels are those of MATLAB where nothing is transparent.
    """
    planes = resize_rows(premultiplied_rows(rows, transparent), size, to, None if transparent else top)
    return lambda first, last: straight_rows(planes(first, last).clamp(0, 1), transparent)
