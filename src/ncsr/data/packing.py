"""Writes photographs into one packed file of tiles, in the format of `ncsr.data.pack`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from torch import Tensor

from ncsr.data.listing import PhotoFile, map_decoded
from ncsr.data.pack import FORMAT, INDEX, encode_tile, import_lmdb, tile_key
from ncsr.errors import InputError
from ncsr.runtime.files import atomic_path, make_folder

_TILE_SLACK, _SLACK = 1 << 13, 1 << 26  # bytes that LMDB may need beside the pixels, per tile and in all


def pack_photos(
    files: Sequence[PhotoFile], output: Path, *, side: int = 128, progress: Callable[[], object] = lambda: None
) -> list[str]:
    """Write photographs into one packed file, which appears when it is whole.

    Args:
        files: what to pack, in this order.
        output: the file to write; it must not exist.
        side: side of the tiles, in pixels.
        progress: called after each photograph.

    Returns:
        One message for each photograph that turned out broken and was left out.

    Raises:
        InputError: the output exists or cannot be written, no photograph can be read, or the lmdb package is missing.
    """
    import_lmdb()
    import lmdb

    if output.exists():
        raise InputError(f"{output} exists already: delete it, or choose another -o")
    make_folder(output.parent)
    index: list[tuple[str, int, int]] = []
    broken: list[str] = []
    tiles = sum(-(-file.height // side) * -(-file.width // side) for file in files)
    room = sum(3 * file.height * file.width for file in files) + tiles * _TILE_SLACK + _SLACK
    packed = map_decoded(lambda photo: _tiles(photo, side), files)
    try:
        with (
            atomic_path(output) as path,
            lmdb.open(str(path), subdir=False, map_size=room, lock=False, sync=False, metasync=False) as environment,
        ):
            for file, photo in zip(files, packed, strict=True):
                if isinstance(photo, InputError):
                    broken.append(str(photo))
                else:
                    (height, width), made = photo
                    with environment.begin(write=True) as writing:
                        for (row, column), value in made.items():
                            writing.put(tile_key(len(index), row, column), value, append=True)
                    index.append((file.path.name, height, width))
                progress()
            if not index:
                raise InputError(f"none of {len(files)} photographs can be read, the first: {broken[0]}")
            with environment.begin(write=True) as writing:
                content = {"format": FORMAT, "side": side, "photos": index}
                writing.put(INDEX, json.dumps(content).encode(), append=True)
            environment.sync(True)
    except (lmdb.Error, OSError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).rpartition(": ")[2]
        raise InputError(
            f"cannot write {output} ({reason}): make room if the disk is full, or choose another -o"
        ) from None
    return broken


def _tiles(photo: Tensor, side: int) -> tuple[tuple[int, int], dict[tuple[int, int], bytes]]:
    """(H, W) of a photograph (3, H, W), and the values of its tiles by row and column."""
    pixels = photo.permute(1, 2, 0).numpy()
    corners = product(range(0, pixels.shape[0], side), range(0, pixels.shape[1], side))
    tiles = {(y // side, x // side): encode_tile(pixels[y : y + side, x : x + side]) for y, x in corners}
    return pixels.shape[:2], tiles
