"""Finding photographs in folders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from ncsr.errors import InputError
from ncsr.images.kinds import HEAD, kind_of

WRITABLE = frozenset({".avif", ".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"})
"""The suffixes, lower case, of the files that are written."""

SUFFIXES = WRITABLE | {".gif", ".heic", ".heif", ".j2k", ".jp2"}
"""The suffixes of the files that are read."""

OTHER_SUFFIXES = frozenset(
    {".exr", ".pdf", ".psd", ".svg", ".tga"}
    | {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"}  # of cameras
    | {".pbm", ".pgm", ".pnm", ".ppm", ".dib", ".eps", ".hdr", ".ico", ".jif", ".jxr", ".pcx", ".qoi"}
)
"""The suffixes of images that are neither read nor written."""


def is_photo_path(inside: PurePath) -> bool:
    """Whether a file at this path inside a folder counts as a photograph: it is not hidden, and its suffix is known."""
    return inside.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in inside.parts)


def is_photo(path: Path) -> bool:
    """Whether a file counts as a photograph by its suffix or, if it has none, by its content."""
    if path.suffix or not path.is_file():
        return path.suffix.lower() in SUFFIXES
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD)) is not None
    except OSError:
        return False


class FolderContents(NamedTuple):
    """What is in a folder.

    Attributes:
        photos: the photographs by suffix, sorted.
        problems: a sentence for each folder, or file in one, that cannot be looked at.
        others: how many images there are of each suffix that is not read.
    """

    photos: list[Path]
    problems: list[str]
    others: Counter[str]

    @property
    def note(self) -> str:
        """How many images are of kinds that are not read; empty if there are none."""
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.others.items()))
        return f"images of kinds that are not read: {kinds}" if kinds else ""


def search_folder(folder: str | os.PathLike[str], recursive: bool = False) -> FolderContents:
    """Look for photographs in a folder and, with `recursive`, in the folders inside; hidden names (.name) are skipped.

    Links are followed, unless they lead back to a folder that they lie in.

    Raises:
        InputError: if `folder` is not a folder, or holds no photograph.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    found = FolderContents([], [], Counter())
    for path in _files(folder, recursive, found.problems, ()):
        if is_photo(path):  # what is hidden is not among them
            found.photos.append(path)
        elif path.suffix.lower() in OTHER_SUFFIXES:
            found.others[path.suffix.lower()] += 1
    if not found.photos:
        reasons = [*found.problems, *filter(None, [found.note])]
        more = f": {'; '.join(reasons)}" if reasons else ""
        raise InputError(f"the folder {folder} holds no photographs ({' '.join(sorted(SUFFIXES))}){more}")
    found.photos.sort()
    return found


def find_photos(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """The photographs that `search_folder` finds.

    Raises:
        InputError: as there, and if a folder cannot be read.
    """
    found = search_folder(folder, recursive)
    if found.problems:
        raise InputError(found.problems[0])
    return found.photos


def _files(folder: Path, recursive: bool, problems: list[str], above: tuple[os.stat_result, ...]) -> Iterator[Path]:
    """The files in a folder that are not hidden; `above` are the folders that led to it."""
    try:
        here = folder.stat()
        if any(os.path.samestat(here, other) for other in above):
            return
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        problems.append(f"cannot read the folder {folder}: {error.strerror}")
        return
    for path in map(folder.joinpath, names):
        try:
            mode = path.stat().st_mode
        except PermissionError as error:
            problems.append(f"cannot read {path}: {error.strerror}")
        except OSError:  # a link that leads nowhere
            continue
        else:
            if stat.S_ISREG(mode):
                yield path
            elif recursive and stat.S_ISDIR(mode):
                yield from _files(path, recursive, problems, (*above, here))
