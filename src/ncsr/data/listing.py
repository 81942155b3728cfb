"""Which photographs there are and how large they are, without decoding them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from torch import Tensor

from ncsr.data.pack import PackedPhoto
from ncsr.errors import InputError
from ncsr.images import MAX_PIXELS, photo_size, read_eight_bit, read_photo
from ncsr.images.finding import search_folder
from ncsr.runtime.threads import prefetch_map

_PNG_END, _JPEG_END = b"IEND\xaeB`\x82", b"\xff\xd9"


class PhotoFile(NamedTuple):
    """A photograph in a file; height and width are the header's, before it is turned upright."""

    path: Path
    height: int
    width: int

    @property
    def name(self) -> str:
        """The name by which messages call it."""
        return str(self.path)

    @property
    def file_name(self) -> str:
        """Without its folder."""
        return self.path.name

    def decode(self) -> Tensor:
        """The photograph as uint8, (3, H, W), upright, transparency laid on black (`read_eight_bit`).

        Raises:
            InputError: it is broken, or has another size than when it was listed.
        """
        pixels = read_eight_bit(self.path)
        height, width = pixels.shape[1:]
        if sorted((height, width)) != sorted((self.height, self.width)):
            raise InputError(
                f"{self.path} was changed: it had {self.width} x {self.height} pixels, now {width} x {height}"
            )
        return pixels


_Entry = TypeVar("_Entry", bound=PhotoFile | PackedPhoto)
_Result = TypeVar("_Result")


def find_all(*folders: Path) -> tuple[list[Path], list[str]]:
    """The photographs in folders and all folders below them, each folder's sorted by path, and messages.

    A message names a folder that cannot be read, or images of kinds that ncsr does not read. Pictures that a training
    run wrote into its `validation` folder are left out.

    Raises:
        InputError: one is not a folder, or holds no photograph.
    """
    contents = {folder: search_folder(folder, recursive=True) for folder in folders}
    found = [path for folder in folders for path in contents[folder].photos]
    messages = [problem for content in contents.values() for problem in content.problems]
    messages += [f"{folder}: {content.note}" for folder, content in contents.items() if content.note]
    pictures = {
        folder
        for folder in {path.parent for path in found if path.parent.name == "validation"}
        if (folder.parent / "recipe.yaml").exists() and (folder.parent / "checkpoints").exists()
    }
    return [path for path in found if path.parent not in pictures], messages


def list_photos(*folders: Path) -> tuple[list[PhotoFile], list[str]]:
    """The photographs that `find_all` finds, and its messages with one for each broken photograph.

    Sizes are read from headers. Files without the last bytes of a PNG, JPEG or WebP file are decoded, to see whether
    they were cut short; so is every file of another kind.

    Raises:
        InputError: one is not a folder, or holds no photograph.
    """
    files: list[PhotoFile] = []
    found, broken = find_all(*folders)
    for path in found:
        try:
            height, width = photo_size(path)
            if height * width > MAX_PIXELS or not _is_whole(path):
                read_photo(path)
        except InputError as error:
            broken.append(str(error))
        else:
            files.append(PhotoFile(path, height, width))
    return files, broken


def large_enough(
    entries: Iterable[_Entry], smallest: int, sources: Sequence[Path], broken: Sequence[str]
) -> tuple[list[_Entry], list[str]]:
    """The photographs whose sides are at least `smallest`, and a message for each broken one and each other one.

    Raises:
        InputError: there is no such photograph in the sources.
    """
    large, left_out = [], list(broken)
    for entry in entries:
        if min(entry.height, entry.width) >= smallest:
            large.append(entry)
        else:
            size = f"{entry.width} x {entry.height}"
            left_out.append(f"{entry.name}: {size} pixels, smaller than {smallest} x {smallest}")
    if not large:
        raise InputError(
            f"no photograph of at least {smallest} x {smallest} pixels in {', '.join(map(str, sources))} "
            f"({len(left_out)} left out): give a folder of larger photographs or a smaller crop"
        )
    return large, left_out


def map_decoded(work: Callable[[Tensor], _Result], files: Iterable[PhotoFile]) -> Iterator[_Result | InputError]:
    """`work` of every photograph (3, H, W), done in threads; of a broken one, its error, which stops no other."""

    def work_or_error(file: PhotoFile) -> _Result | InputError:
        try:
            return work(file.decode())
        except InputError as error:
            return error

    return prefetch_map(work_or_error, files, os.cpu_count() or 1)


def _is_whole(path: Path) -> bool:
    """Whether a file has the last bytes of a PNG or JPEG file, or the length of a WebP file, so was not cut short."""
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        file.seek(-min(size, len(_PNG_END)), 2)
        tail = file.read()
    if head[:4] == b"RIFF":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    return tail.endswith((_PNG_END, _JPEG_END))
