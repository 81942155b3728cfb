"""Texts of reports without the folders of the machine that made them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path


def portable_by(arguments: Sequence[str]) -> Callable[[str], str]:
    """A function that leaves out of a text the folders in which a command's absolute paths lie.

    What is kept of each path are its last components: one, or as many as tell it from the others.
    """
    paths = set(map(_path_in, arguments))
    folders = {f"{_left_out(path, paths)}{os.sep}" for path in paths if path.is_absolute() and path.name}

    def portable(text: str) -> str:
        for folder in sorted(folders, key=len, reverse=True):
            text = text.replace(folder, "")
        return text

    return portable


def _path_in(argument: str) -> Path:
    """The path that an argument is, or ends with: -oPATH, --output=PATH, ROLE=PATH."""
    ends = (argument, argument.partition("=")[2], argument[2:] if argument.startswith("-") else "")
    return next((path for path in map(Path, ends) if path.is_absolute()), Path(argument))


def _left_out(path: Path, paths: set[Path]) -> Path:
    """The nearest folder of a path below which the path differs from the others."""
    for folder in path.parents:
        kept = path.parts[len(folder.parts) :]
        if all(other == path or other.parts[-len(kept) :] != kept for other in paths):
            break
    return folder
