"""Images under construction: in memory, or in a file of which only a part is in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from ncsr.errors import InputError
from ncsr.ops.projection import Rows, strips


class Canvas:
    """n images of (H, W, C) pixels: C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Args:
        shape: (n, H, W, C).
        dtype: uint8 or uint16, which values are rounded to, or float32, which keeps them.
        path: of the file; None keeps the images in memory. A file of the right size keeps its content.

    Attributes:
        size: bytes of all images.
        fresh: whether it starts empty; False for a file that an earlier run left.

    Raises:
        InputError: the file cannot be made, or the disk has no room for it.
    """

    def __init__(self, shape: tuple[int, int, int, int], dtype: DTypeLike, path: Path | None = None) -> None:
        self.shape, self.dtype, self._path = shape, np.dtype(dtype), path
        self._memory = np.empty(shape, dtype) if path is None else None
        self.size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.fresh = path is None or not path.is_file() or path.stat().st_size != self.size
        if path is not None and self.fresh:
            _allocate(path, self.size)

    def put(self, k: int, top: int, left: int, values: Tensor) -> None:
        """Write (C, h, w) values into image k with their corner at (top, left); values beyond [0, 1] are clipped."""
        height, width = values.shape[1:]
        values = values.clamp(0, 1)
        if self.dtype.kind == "u":
            values = (values * np.iinfo(self.dtype).max).round_()
        pixels = values.permute(1, 2, 0).cpu().numpy()
        self._rows(k, top, top + height)[:, left : left + width] = pixels.astype(self.dtype, copy=False)

    def rows(self, k: int, first: int, last: int) -> Tensor:
        """Rows first to last of image k, (C, rows, W) float32 in [0, 1]."""
        return rows_of(self._rows(k, first, last))(0, last - first)

    def pixels(self, k: int) -> NDArray[Any]:
        """Image k, (H, W, C), of the canvas' dtype; a view."""
        return self._rows(k, 0, self.shape[1])

    def sync(self) -> None:
        """Wait until all that was put on the canvas is on the disk, where it outlives a crash of the machine."""
        if self._path is not None:
            with self._path.open("r+b") as file:
                os.fsync(file.fileno())

    def _rows(self, k: int, first: int, last: int) -> NDArray[Any]:
        """Rows of image k, (rows, W, C), a view; those of a file are mapped anew at each call.

        So only the rows in use take memory and addresses, which may be limited (`ulimit -v`).
        """
        if self._memory is not None:
            rows: NDArray[Any] = self._memory[k, first:last]
            return rows
        assert self._path is not None
        _, height, width, channels = self.shape
        start = (k * height + first) * width * channels * self.dtype.itemsize
        return np.memmap(self._path, self.dtype, "r+", start, (last - first, width, channels))


def rows_of(pixels: NDArray[Any]) -> Rows:
    """The rows of (H, W, C) pixels, (C, rows, W) float32 in [0, 1]."""

    def rows(first: int, last: int) -> Tensor:
        values = torch.from_numpy(np.moveaxis(pixels[first:last], -1, 0).astype(np.float32, order="C"))
        return values.div_(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else values

    return rows


def canvas_from_rows(rows: Rows, shape: tuple[int, int, int], dtype: DTypeLike) -> Canvas:
    """A canvas in memory with one image of `shape` (H, W, C), made from its rows strip by strip."""
    canvas = Canvas((1, *shape), dtype)
    for first, last in strips(shape[0], shape[1] * shape[2], 8):
        canvas.put(0, first, 0, rows(first, last))
    return canvas


def _allocate(path: Path, size: int) -> None:
    """Make a file of `size` bytes with its room on the disk: a write to a map without room would kill the process."""
    try:
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
                if shutil.disk_usage(path).free < size:
                    raise OSError("No space left on device")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"cannot make the scratch file {path} of {size / 2**20:.0f} MiB: {error.strerror or error}; "
            "make room, or write into another folder with -o"
        ) from None
