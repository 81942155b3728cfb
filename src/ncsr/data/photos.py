"""The photographs that a model is trained on: any number of folders and packed files, behind one numbering."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from ncsr.data.crops import CropSource
from ncsr.data.listing import PhotoFile, large_enough, list_photos
from ncsr.data.pack import Pack, PackedPhoto
from ncsr.errors import InputError, printable


class Photos:
    """Photographs by number, in an order that depends on nothing but what their folders hold.

    Those in files are decoded when they are first asked for and kept while the budget lasts: it goes to the first ones
    that fit, for good, so that none is thrown out only to be decoded again. Packed ones are decoded where they are cut.
    A broken one raises an `InputError` whenever it is asked for or cut.

    Args:
        entries: files and packed photographs.
        budget: bytes of decoded photographs to keep.
        warn: called with a message for a file that turns out broken on decoding.
    """

    def __init__(self, entries: Sequence[PhotoFile | PackedPhoto], budget: int, warn: Callable[[str], None]) -> None:
        self._entries, self._warn = entries, warn
        self._cache: dict[int, Tensor] = {}
        self._kept: set[int] = set()
        for index, entry in enumerate(entries):
            size = 3 * entry.height * entry.width
            if isinstance(entry, PhotoFile) and size <= budget:
                self._kept.add(index)
                budget -= size

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all photographs, decoded."""
        return sum(3 * entry.height * entry.width for entry in self._entries)

    def __getitem__(self, index: int) -> CropSource:
        entry = self._entries[index]
        if isinstance(entry, PackedPhoto):
            return entry
        photo = self._cache.get(index)
        if photo is None:
            try:
                photo = entry.decode()
            except InputError as error:
                self._warn(str(error))
                raise
            if index in self._kept:
                self._cache[index] = photo
        return photo

    def fingerprint(self) -> str:
        """Their number, and digits that tell them from other photographs by file names and sizes, packed or not."""
        told = "".join(f"{entry.file_name} {sorted((entry.height, entry.width))}\n" for entry in self._entries)
        return f"{len(self)} photographs, {hashlib.sha256(told.encode(errors='surrogateescape')).hexdigest()[:12]}"

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_cache": {}}  # another process decodes for itself


def warn_on_stderr(message: str) -> None:
    """Print that a photograph turned out broken."""
    print(f"left out from here on: {printable(message)}", file=sys.stderr)


def open_photos(
    sources: Sequence[Path], smallest: int, *, budget: int = 2 << 30, warn: Callable[[str], None] = warn_on_stderr
) -> tuple[Photos, list[str]]:
    """Find the photographs of a training run; hardly more than their headers is read.

    Args:
        sources: folders, searched recursively, and files that `ncsr prepare` packed; one that is named twice counts
            twice.
        smallest: photographs with a side shorter than this are left out.
        budget: bytes of decoded photographs to keep in memory, in each process.
        warn: called with a message, once, for a photograph that turns out broken later; training goes on with the
            others.

    Returns:
        The photographs, and one message for each that was left out.

    Raises:
        InputError: a source does not exist or is no such file or folder, or nothing usable is in them.
    """
    entries: list[PhotoFile | PackedPhoto] = []
    broken: list[str] = []
    warn = partial(_warn_once, warn, set())
    for source in sources:
        if source.is_file():
            entries += Pack(source, warn).photos()
        else:
            files, unreadable = list_photos(source)
            entries += files
            broken += unreadable
    entries, left_out = large_enough(entries, smallest, sources, broken)
    return Photos(entries, budget, warn), left_out


def _warn_once(warn: Callable[[str], None], known: set[str], message: str) -> None:
    """Pass on a message that is not among the known ones."""
    if message not in known:
        known.add(message)
        warn(message)
