"""Which photographs are enlarged, and what their results are called."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ncsr.errors import InputError
from ncsr.images.finding import OTHER_SUFFIXES, SUFFIXES, WRITABLE, is_photo_path, search_folder
from ncsr.images.reading import count_pages
from ncsr.images.writing import JPEG_SUFFIXES, LOSSY_SUFFIXES
from ncsr.runtime.remote import Remote

Location = TypeVar("Location", Path, Remote, Path | Remote)
Plan = Sequence[tuple[Path | Remote, Path | Remote]]
"""Photographs, each with the path of its result before `_s0` and the like."""


def plan_results(
    inputs: Sequence[Path | Remote],
    output: Path | Remote,
    *,
    consistent: bool,
    recursive: bool,
    form: str | None = None,
) -> tuple[list[tuple[Path | Remote, Path | Remote]], list[str], list[str]]:
    """Find all photographs, and name the result of each (before `_s0` and the like).

    Args:
        inputs: photographs, or folders of them.
        output: a folder or, for a single photograph, a file.
        consistent: whether results of JPEG and AVIF files become PNG, because these formats would change them.
        recursive: whether folders inside folders count; they are mirrored in the output.
        form: the suffix of all results; None: each has its photograph's, or .png for formats that are not written.

    Returns:
        The photographs and their results; sentences about folders without photographs or that cannot be read; sentences
        about what is left out of folders.

    Raises:
        InputError: an output that is a file for several photographs, or no format that can be written.
    """
    if form is not None and result_suffix(form, consistent) != form:
        raise InputError(f"--format {form[1:]} would change what --consistent fits; use png, tiff or jxl")
    if output.suffix.lower() in WRITABLE and not output.is_dir():
        if result_suffix(output.suffix, consistent) != output.suffix:
            raise InputError(f"-o {output}: {output.suffix} would change what --consistent fits; use .png or .tif")
        if form is not None and _format_of(output.suffix) != _format_of(form):
            raise InputError(f"-o {output} and --format {form[1:]} name two formats: leave one of them out")
        if len(inputs) > 1 or inputs[0].is_dir():
            raise InputError(f"-o {output} names one file, but there may be several photographs: give a folder")
        return [(inputs[0], output)], [], []
    if output.suffix.lower() in SUFFIXES | OTHER_SUFFIXES and not output.is_dir():
        raise InputError(
            f"-o {output}: results are written as {' '.join(sorted(WRITABLE))}; for a folder, make it first"
        )
    close = difflib.get_close_matches(output.suffix.lower(), WRITABLE, 1, 0.7)
    if close and len(inputs) == 1 and not (inputs[0].is_dir() or output.is_dir()):
        raise InputError(f"-o {output}: did you mean {output.with_suffix(close[0]).name}? For a folder, make it first")
    targets: dict[Path | Remote, Path | Remote] = {}
    problems: list[str] = []
    notes: list[str] = []
    for given in inputs:
        try:
            folder = given if given.is_dir() else None
            found = [given] if folder is None else _photos_in(folder, output, recursive, problems, notes)
        except InputError as error:
            problems.append(str(error))
            continue
        except OSError as error:  # a folder above it cannot be read, or its name is too long
            problems.append(f"cannot read {given}: {error.strerror}")
            continue
        for source in found:
            inside = source.relative_to(folder or given.parent)
            suffix = result_suffix(inside.suffix, consistent) if form is None else form
            targets.setdefault(source, output / inside.with_suffix(suffix))
    return list(targets.items()), problems, notes


def with_pages(plan: Plan) -> tuple[list[tuple[Path | Remote, Path | Remote]], dict[Path | Remote, int]]:
    """The plan with one result for every page of every file, `_p1` and so on where a file has several pages.

    Returns:
        The plan; and the page number of each such result, by its path.
    """
    expanded: list[tuple[Path | Remote, Path | Remote]] = []
    pages: dict[Path | Remote, int] = {}
    for source, target in plan:
        try:
            count = count_pages(source) if isinstance(source, Path) else 1
        except (InputError, MemoryError):  # what is wrong with it is said when it is opened
            count = 1
        numbered = {tagged(target, f"p{number}"): number for number in range(1, count + 1)} if count > 1 else {}
        pages |= numbered
        expanded += [(source, result) for result in numbered or [target]]
    return expanded, pages


def result_suffix(suffix: str, consistent: bool) -> str:
    """The suffix of a photograph's result: its own, but .png for formats not written, or lossy with --consistent."""
    suffix = suffix if suffix.lower() in WRITABLE else ".png"
    return ".png" if consistent and suffix.lower() in LOSSY_SUFFIXES else suffix


def _format_of(suffix: str) -> str:
    """One suffix for each format: .jpg for all of JPEG, .tif for TIFF."""
    suffix = suffix.lower()
    return ".jpg" if suffix in JPEG_SUFFIXES else ".tif" if suffix == ".tiff" else suffix


def tagged(path: Location, tag: str) -> Location:
    """The path with a tag behind the file's stem."""
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def check_results(plan: Plan, names: Callable[[Path | Remote], list[Path | Remote]]) -> None:
    """Refuse results that would replace each other or a photograph; `names` gives the files of a result."""
    photographs = {_real(source) for source, _ in plan}
    owners: dict[Path | Remote, Path | Remote] = {}
    for source, target in plan:
        for name in names(target):
            if _real(name) in photographs:
                raise InputError(f"{name}, made from {source}, would replace a photograph: choose another -o")
            owner = owners.setdefault(_real(name), source)
            if owner != source:
                raise InputError(f"{owner} and {source} would both become {name}: enlarge them into different folders")


def _photos_in(
    folder: Path | Remote, output: Path | Remote, recursive: bool, problems: list[str], notes: list[str]
) -> list[Path | Remote]:
    """The photographs in a folder; results of earlier runs, in an output folder inside it, are left out.

    Sentences about what cannot be read are added to `problems`, those about what is left out to `notes`.
    """
    photos: list[Path | Remote]
    if isinstance(folder, Path):
        inside = 0 if recursive else _folders_inside(folder, output)
        left_out = (
            "the folder inside (-r looks into it)" if inside == 1 else f"{inside} folders inside (-r looks into them)"
        )
        try:
            found = search_folder(folder, recursive)
        except InputError as error:
            raise InputError(f"{error}; left out {left_out}" if inside else str(error)) from error
        photos = [*found.photos]
        notes += [f"{folder}: left out {left_out}"] * bool(inside)
        problems += found.problems
        notes += [f"{folder}: left out {found.note}"] if found.note else []
    else:
        photos = [file for file in folder.files(recursive) if is_photo_path(file.relative_to(folder))]
        if not photos:
            raise InputError(f"the folder {folder} holds no photographs ({' '.join(sorted(SUFFIXES))})")
    results = _real(output)
    if results == _real(folder) or _real(folder) not in results.parents:
        return photos
    photos = [photo for photo in photos if results not in _real(photo).parents]
    if not photos:
        raise InputError(f"the folder {folder} holds no photographs outside {output}")
    return photos


def _folders_inside(folder: Path, output: Path | Remote) -> int:
    """How many folders there are in a folder, not counting hidden ones and that of the results."""
    try:
        with os.scandir(folder) as entries:
            shown = [folder / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return 0
    return sum(_real(path) != _real(output) for path in shown)


def _real(location: Path | Remote) -> Path | Remote:
    """The location itself, links followed; there are none behind URLs."""
    return Path(os.path.realpath(location)) if isinstance(location, Path) else location
