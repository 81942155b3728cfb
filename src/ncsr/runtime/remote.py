"""Files behind URLs (s3://, gs://, sftp://, ...), with the methods of `pathlib.Path` that are needed here.

Photographs are copied to this machine and results from it, always as whole files. fsspec and its drivers do the work; a
driver is a package of its own, and the error message names it where it is missing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.registry import known_implementations
from fsspec.utils import tokenize

from ncsr.errors import InputError
from ncsr.runtime.memory import is_exhaustion


class Remote(PurePosixPath):
    """A file or a folder behind a URL; the first part of the path is the scheme, `s3:` for example.

    Every method that calls the server raises InputError if that fails.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        with self._system("read") as (system, path):
            return bool(system.isdir(path))

    def size_and_version(self) -> tuple[int, str] | None:
        """The size in bytes and a token that changes when the file does; None if there is no such file."""
        with self._system("read") as (system, path):
            try:
                found = system.info(path)  # one request
            except FileNotFoundError:
                return None
        return (int(found["size"]), tokenize(found)) if found["type"] == "file" else None

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content of a small file."""
        with self._system("read") as (system, path):
            return str(system.cat_file(path).decode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        with self._system("remove") as (system, path):
            if not missing_ok or system.exists(path):
                system.rm_file(path)

    def files(self, recursive: bool = False) -> list[Remote]:
        """The files in this folder, sorted; those of folders inside, too, on request."""
        with self._system("list") as (system, path):
            found = system.find(path, maxdepth=None if recursive else 1)
            return sorted((Remote(system.unstrip_protocol(name)) for name in found), key=str)

    def fetch(self, path: Path) -> None:
        """Copy the file to this machine."""
        with self._system("read") as (system, name):
            system.get_file(name, str(path))

    def store(self, path: Path) -> None:
        """Copy a file of this machine to this URL; a reader sees the old file or the new one, never a part."""
        with self._system("write") as (system, name):
            system.makedirs(posixpath.dirname(name), exist_ok=True)
            with system.transaction:  # written beside, then renamed, where a file would grow in sight of readers
                system.put_file(str(path), name)

    @contextmanager
    def _system(self, verb: str) -> Iterator[tuple[Any, str]]:
        """The driver (fsspec file system), and its path of the file.

        Any error in the body becomes an InputError "cannot `verb` URL". `Exception` is caught because every driver has
        errors of its own; want of memory is raised again, since it is not due to the file.
        """
        try:
            yield fsspec.core.url_to_fs(str(self))
        except Exception as error:
            if is_exhaustion(error):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"cannot {verb} {self}: {reason}") from error


def parse_location(text: str) -> Path | Remote:
    """The location that an argument names: a path, or a URL whose driver is installed.

    Raises:
        InputError: there is no driver for the URL, or it is memory://, which only this process would see.
    """
    if text.startswith(("file://", "local://")):
        return Path(text.partition("://")[2])
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "memory":
        raise InputError(f"{text}: memory is not shared between processes; name a folder or a bucket")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        package = known_implementations[scheme]["class"].split(".")[0]
        remedy = str(error) if package == "fsspec" else f"pip install {package}"
        raise InputError(f"{text}: there is no driver for {scheme}:// here: {remedy} (on every machine)") from None
    except ValueError:
        raise InputError(f"{text}: fsspec knows no {scheme}://; it knows s3://, gs://, file:// and others") from None
    return Remote(text)
