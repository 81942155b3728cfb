"""Which photographs are enlarged, and what their results are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ncsr.errors import InputError
from ncsr.images import SUFFIXES, find_photos, is_photo_path
from ncsr.runtime.remote import Remote

Location = TypeVar("Location", Path, Remote, Path | Remote)
Plan = Sequence[tuple[Path | Remote, Path | Remote]]
"""Photographs, each with the path of its result before `_s0` and the like."""

_LOSSY = {".jpg", ".jpeg"}
_OTHER_IMAGES = {".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pdf", ".svg"}


def plan_results(
    inputs: Sequence[Path | Remote], output: Path | Remote, *, consistent: bool, recursive: bool
) -> tuple[list[tuple[Path | Remote, Path | Remote]], list[str]]:
    """Every photograph with the path of its result (before `_s0` and the like), and a sentence per folder without any.

    Args:
        inputs: photographs, or folders of them.
        output: a folder or, of a single photograph, a file.
        consistent: whether JPEG becomes PNG.
        recursive: whether folders inside folders count; they are mirrored in the output.

    Raises:
        InputError: an output that is a file for several photographs, or no format that can be written.
    """
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if result_suffix(output.suffix, consistent) != output.suffix:
            raise InputError(f"-o {output}: JPEG would change what --consistent fits; use .png or .tif")
        if len(inputs) > 1 or inputs[0].is_dir():
            raise InputError(f"-o {output} names one file, but there may be several photographs: give a folder")
        return [(inputs[0], output)], []
    if output.suffix.lower() in _OTHER_IMAGES and not output.is_dir():
        raise InputError(
            f"-o {output}: results are written as {' '.join(sorted(SUFFIXES))}; for a folder, make it first"
        )
    targets: dict[Path | Remote, Path | Remote] = {}
    problems = []
    for given in inputs:
        try:
            folder = given if given.is_dir() else None
            found = [given] if folder is None else _without_results(photos_in(folder, recursive), folder, output)
        except InputError as error:
            problems.append(str(error))
            continue
        for source in found:
            inside = source.relative_to(folder or given.parent)
            targets.setdefault(source, output / inside.with_suffix(result_suffix(inside.suffix, consistent)))
    return list(targets.items()), problems


def result_suffix(suffix: str, consistent: bool) -> str:
    """The suffix of the result of a photograph with this one: PNG for JPEG, which would undo --consistent."""
    return ".png" if consistent and suffix.lower() in _LOSSY else suffix


def tagged(path: Location, tag: str) -> Location:
    """The path with a tag behind the file's stem."""
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def check_results(plan: Plan, names: Callable[[Path | Remote], list[Path | Remote]]) -> None:
    """Refuse results that would replace each other or a photograph; `names` gives the files of a result."""
    photographs = {source.resolve() for source, _ in plan}
    owners: dict[Path | Remote, Path | Remote] = {}
    for source, target in plan:
        for name in names(target):
            if name.resolve() in photographs:
                raise InputError(f"{name}, made from {source}, would replace a photograph: choose another -o")
            owner = owners.setdefault(name.resolve(), source)
            if owner != source:
                raise InputError(f"{owner} and {source} would both become {name}: enlarge them into different folders")


def photos_in(folder: Path | Remote, recursive: bool = False) -> Sequence[Path | Remote]:
    """The photographs in a folder, here or behind a URL; see `images.find_photos`."""
    if isinstance(folder, Path):
        return find_photos(folder, recursive)
    photos = [file for file in folder.files(recursive) if is_photo_path(file.relative_to(folder))]
    if not photos:
        raise InputError(f"the folder {folder} holds no photographs ({' '.join(sorted(SUFFIXES))})")
    return photos


def _without_results(
    photos: Sequence[Path | Remote], folder: Path | Remote, output: Path | Remote
) -> Sequence[Path | Remote]:
    """The photographs that are no results of earlier runs: those outside an output folder inside the folder."""
    results = output.resolve()
    if results == folder.resolve() or folder.resolve() not in results.parents:
        return photos
    photos = [photo for photo in photos if results not in photo.resolve().parents]
    if not photos:
        raise InputError(f"the folder {folder} holds no photographs outside {output}")
    return photos
