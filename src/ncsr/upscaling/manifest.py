"""What was made of a photograph and how, remembered beside the results: what `--skip-existing` goes by.

A record is a small file in the hidden folder `.ncsr` beside the results. It is written when all of them are, and taken
away before any of them is written again, so a photograph with a record is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ncsr.errors import InputError
from ncsr.runtime.files import atomic_path, make_folder
from ncsr.runtime.remote import Remote

_FOLDER = ".ncsr"
_Place = TypeVar("_Place", Path, Remote, Path | Remote)


def write_manifest(target: Path, settings: Mapping[str, Any], results: Sequence[Path]) -> None:
    """Remember that the results of a photograph are complete.

    Args:
        target: the result's path before `_s0` and the like.
        settings: all that decides the results, the photograph included; JSON.
        results: the files.

    Raises:
        InputError: it cannot be written.
    """
    path = manifest_path(target)
    files = {result.name: result.stat().st_size for result in results}
    make_folder(path.parent)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"settings": settings, "files": files}) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another -o") from None


def remove_manifest(target: Path | Remote) -> None:
    """Take the record away, if there is one: the results are about to change."""
    path = manifest_path(target)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot replace {path}: {error.strerror or error}; choose another -o") from None


def is_up_to_date(target: Path | Remote, settings: Mapping[str, Any], results: Sequence[Path | Remote]) -> bool:
    """Whether exactly these results were made with exactly these settings and are still there, in their sizes."""
    record = _read(target)
    if record is None or record["settings"] != settings or list(record["files"]) != [r.name for r in results]:
        return False
    return all(_size(r) == record["files"][r.name] for r in results)


def recorded(target: Path) -> dict[str, Any]:
    """The settings of a record; empty if there is none."""
    record = _read(target)
    return {} if record is None else dict(record["settings"])


def manifest_path(target: _Place) -> _Place:
    """Where the record of a photograph lies."""
    return target.parent / _FOLDER / f"{target.name}.json"


def _size(path: Path | Remote) -> int | None:
    """Of a file in bytes; None: there is none."""
    if isinstance(path, Remote):
        about = path.about()
        return None if about is None else about[0]
    return path.stat().st_size if path.is_file() else None


def _read(target: Path | Remote) -> dict[str, dict[str, Any]] | None:
    """A record; None if there is none, or something else lies in its place."""
    try:
        record = json.loads(manifest_path(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    parts = (record.get("settings"), record.get("files")) if isinstance(record, dict) else ()
    return record if parts and all(isinstance(part, dict) for part in parts) else None
