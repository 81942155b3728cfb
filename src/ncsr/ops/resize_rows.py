"""MATLAB-compatible bicubic resizing of images that are looked at in rows, to any size."""

from __future__ import annotations

import torch
from torch import Tensor

from ncsr.ops.precision import full_precision
from ncsr.ops.projection import Rows
from ncsr.ops.resize import resize_band

_BLOCK = 128  # rows or columns of the result that are computed at a time, at most
_PIXELS = 2**20  # of the image that are read at a time; at least 8 rows of the result are made at once


def resize_rows(rows: Rows, size: tuple[int, int], to: tuple[int, int], top: int | None = None) -> Rows:
    """The rows of an image as MATLAB's `imresize(image, to, 'bicubic')` gives it, computed when they are asked for.

    Args:
        rows: of the image.
        size: (H, W) of the image.
        to: (H, W) of the result.
        top: values are levels of this largest one, and each of the two passes is clipped to them; at 255 it is
            rounded half to even as well, as MATLAB does with 8 bits. None: values are neither rounded nor clipped.
    """
    step = max(8, min(_BLOCK, _PIXELS * to[0] // (size[0] * size[1])))

    def settled(values: Tensor) -> Tensor:
        values = values.round_() if top == 255 else values
        return values if top is None else values.clamp_(0, top)

    def resized(first: int, last: int) -> Tensor:
        parts = []
        for begin, end in _blocks(first, last, step):
            low, high, weights = resize_band(size[0], to[0] / size[0], begin, end)
            image = rows(low, high)
            image = image if top is None else (image.double() * top).round_()  # whole numbers, so that ties are ties
            with full_precision(image.device):
                image = settled(weights.to(image) @ image)
                columns = []
                for left, right in _blocks(0, to[1], _BLOCK):
                    low, high, weights = resize_band(size[1], to[1] / size[1], left, right)
                    columns.append(settled(image[..., low:high] @ weights.to(image).T))
            parts.append(torch.cat(columns, -1))
        image = torch.cat(parts, -2)
        return image if top is None else image.div_(top).float()

    return resized


def _blocks(first: int, last: int, step: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + step, last)) for begin in range(first, last, step)]
