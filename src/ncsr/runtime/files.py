"""Writing files that are either whole or absent, and small helpers for files and folders."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ncsr.errors import InputError
from ncsr.runtime.locks import TEMPORARY, hold, release

_LONGEST_NAME = 255  # bytes
_CHUNK = 2**20  # bytes of a file that are hashed at a time


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that nobody ever sees half of it.

    Yields a hidden path in the folder of `path`, with the same suffix, for the body to write a file to. When the body
    ends, that file takes the place of `path` in one step; when the body raises, it is removed and `path` is as it was.
    A process that is killed leaves it there, for `locks.remove_abandoned`.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:12]}{path.suffix}")
    while (descriptor := hold(temporary)) is None:  # `remove_abandoned` was faster
        pass
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        release(temporary, descriptor)


@contextmanager
def explain_write_errors(path: str | os.PathLike[str], remedy: str = "") -> Iterator[None]:
    """Make an error of the system in the body an `InputError`: cannot write `path`, why, and the remedy if any."""
    try:
        yield
    except OSError as error:
        remedy = remedy and f"; {remedy}"
        raise InputError(f"cannot write {path}: {error.strerror or error}{remedy}") from error


def hidden_name(name: str) -> str:
    """The name of an internal file; a name too long for the file system is replaced by a hidden one made of a hash."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST_NAME else f".{hashlib.sha256(encoded).hexdigest()[:12]}{Path(name).suffix}"


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents where they are missing, and return it.

    Raises:
        InputError: if it cannot be made, for example because it or one of its parents is a file.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = next((p for p in (folder, *folder.parents) if p.is_file()), None)
        reason = f"{in_the_way} is a file" if in_the_way else error.strerror or str(error)
        raise InputError(f"cannot make the folder {folder}: {reason}; name another folder") from error
    return folder


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return digest.hexdigest()


def read_small(path: str | os.PathLike[str], limit: int = 2**16) -> bytes:
    """The content of a small text file, such as settings or a recipe.

    Raises:
        InputError: it cannot be read, or has more bytes than `limit`.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > limit:
        raise InputError(f"{path} is longer than {limit} bytes: it is not such a file as is expected there")
    return content
