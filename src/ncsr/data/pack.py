"""Packed photographs: one LMDB file that holds each of them as square tiles, compressed without loss.

Cutting a crop out of a PNG or JPEG file costs the decoding of the whole photograph; out of a packed one, of the few
tiles under it. Tiles do not overlap, and crops reach across them: a packed set takes less room than its PNG files, and
gives the same crops as they do, bit for bit.

    key                                                   value
    photograph, row, column (three big-endian uint32)     a tile: lossless WebP, S x S pixels, fewer at right and bottom
    b"photos"                                             JSON: {"format": 1, "side": S, "photos": [[name, H, W], ...]}
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncsr.errors import InputError, needs_extra
from ncsr.runtime.memory import is_exhaustion
from ncsr.runtime.parsing import parse_json

if TYPE_CHECKING:
    import lmdb

FORMAT = 1
INDEX = b"photos"

# A process may open an LMDB file only once: every `Pack` of a file, by device and inode, shares one environment, which
# is closed with the last of them.
_open_environments: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()


def tile_key(photo: int, row: int, column: int) -> bytes:
    """The key of a tile; keys sort in the order in which tiles are made."""
    return struct.pack(">III", photo, row, column)


def encode_tile(pixels: NDArray[np.uint8]) -> bytes:
    """A tile's value, of (h, w, 3) pixels: see docs/data.md for why WebP, and why its fastest method."""
    return bytes(imagecodecs.webp_encode(np.ascontiguousarray(pixels), level=0, lossless=True, method=0))


@dataclass(frozen=True)
class PackedPhoto:
    """A packed photograph, decoded where it is cut: `photo[:, top:bottom, left:right]` is a uint8 tensor."""

    pack: Pack
    number: int
    file_name: str
    height: int
    width: int

    @property
    def name(self) -> str:
        """The name by which messages call it."""
        return f"{self.file_name} in {self.pack.path}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W)."""
        return 3, self.height, self.width

    def __getitem__(self, window: tuple[slice, slice, slice]) -> Tensor:
        channels, rows, columns = window
        (top, bottom, _), (left, right, _) = rows.indices(self.height), columns.indices(self.width)
        return self.pack.cut(self, top, left, bottom - top, right - left)[channels]


class Pack:
    """A packed file, open for reading.

    It takes no lock; threads and forked processes may use it, and an unpickled copy opens the file again.

    Args:
        path: of the file.
        warn: called with a message when a photograph turns out damaged.

    Raises:
        InputError: it is no packed file, truncated, or of another version; or the lmdb package is missing.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path, self._warn = path, warn
        self._environment = _open(path)
        import lmdb

        self._opened = path.stat()
        try:
            with self._environment.begin() as reading:
                index = parse_json(reading.get(INDEX, b""))
            if index["format"] != FORMAT:
                raise InputError(
                    f"{path} was packed by another version of ncsr (format {index['format']}, "
                    f"this one reads {FORMAT}): pack the photographs again"
                )
            self.side = int(index["side"])
            self._photos = [(str(name), int(height), int(width)) for name, height, width in index["photos"]]
        except InputError:
            raise
        except (ValueError, LookupError, TypeError, lmdb.Error):
            raise _no_pack(path) from None
        if self.side < 1:
            raise _no_pack(path)

    def __reduce__(self) -> tuple[object, ...]:
        return Pack, (self.path, self._warn)

    def photos(self) -> list[PackedPhoto]:
        """All photographs, in the order in which they were packed."""
        return [
            PackedPhoto(self, number, name, height, width) for number, (name, height, width) in enumerate(self._photos)
        ]

    def cut(self, photo: PackedPhoto, top: int, left: int, height: int, width: int) -> Tensor:
        """A window of a photograph: uint8, (3, height, width).

        Raises:
            InputError: a tile is damaged, or the file was written to since it was opened.
            MemoryError: there is not enough memory.
        """
        side = self.side
        pixels = np.empty((height, width, 3), np.uint8)
        for row in range(top // side, -(-(top + height) // side)):
            for column in range(left // side, -(-(left + width) // side)):
                y, x = row * side - top, column * side - left  # the tile's corner in the window
                try:
                    tile = imagecodecs.webp_decode(self._read(tile_key(photo.number, row, column)))
                    part = tile[max(-y, 0) : height - y, max(-x, 0) : width - x]
                    pixels[max(y, 0) : y + side, max(x, 0) : x + side] = part
                except Exception as error:  # what decoders raise, and NumPy for a tile of another size
                    if is_exhaustion(error):
                        raise MemoryError(f"cannot read {photo.name}: there is not enough memory") from error
                    if not isinstance(error, InputError):
                        error = InputError(f"{photo.name} is damaged: pack the photographs again")
                    self._warn(str(error))
                    raise error from None
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _read(self, key: bytes) -> bytes:
        if self._was_written_to():  # reading past the end of a mapped file that was cut kills the process
            raise InputError(f"{self.path} was written to while it is in use: pack into another file")
        with self._environment.begin() as reading:
            return bytes(reading.get(key, b""))

    def _was_written_to(self) -> bool:
        try:
            now = self.path.stat()
        except OSError:  # the file was removed, but is still open here
            return False
        same_file = os.path.samestat(now, self._opened)
        return same_file and (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns)


def import_lmdb() -> None:
    """Check that the lmdb package, which only packed files need, is installed.

    Raises:
        InputError: it is not.
    """
    with needs_extra("train", "packed photographs need the lmdb package", "lmdb"):
        import lmdb  # noqa: F401


def _open(path: Path) -> lmdb.Environment:
    import_lmdb()
    import lmdb

    try:
        status = path.stat()
        environment = _open_environments.get((status.st_dev, status.st_ino))
        if environment is None:
            environment = lmdb.open(str(path), subdir=False, readonly=True, lock=False)
    except (OSError, lmdb.Error):
        raise _no_pack(path) from None
    size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size > status.st_size:  # reading past the end of a mapped file would kill the process
        raise InputError(f"{path} is truncated: it holds {status.st_size} of {size} bytes; copy or pack it again")
    _open_environments[status.st_dev, status.st_ino] = environment
    return environment


def _no_pack(path: Path) -> InputError:
    return InputError(f"{path} is no file that ncsr prepare packed: give such a file, or a folder of photographs")
