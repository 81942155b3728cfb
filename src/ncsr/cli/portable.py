"""Removing the folders of this machine from the texts of reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path


def portable_by(arguments: Sequence[str]) -> Callable[[str], str]:
    """A function that shortens the absolute paths among a command's arguments wherever a text has them.

    Of each path the last component is kept, or as many as distinguish it from the others.
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
