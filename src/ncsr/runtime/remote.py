"""Files behind URLs (s3://, gs://, sftp://, ...): as much of `pathlib.Path` as is needed of them.

Photographs are copied to this machine and results from it, so only whole files travel. fsspec and its drivers do the
work; a driver is a package of its own, which the error message names where it is missing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import fsspec
from fsspec.registry import known_implementations
from fsspec.utils import tokenize

from ncsr.errors import InputError

_HERE = ("file://", "local://")


@dataclass(frozen=True)
class Remote:
    """A file or a folder behind a URL, which has no slash at its end."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.url)

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The file's suffix, with its dot; empty if it has none."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Remote:
        """The folder that it is in."""
        return Remote(posixpath.dirname(self.url))

    @property
    def parents(self) -> list[Remote]:
        """All folders that it is in, the nearest first."""
        scheme, _, path = self.url.partition("://")
        parts = path.split("/")
        return [Remote(f"{scheme}://{'/'.join(parts[:n])}") for n in range(len(parts) - 1, 0, -1)]

    def __truediv__(self, inside: str | PurePath) -> Remote:
        return Remote(f"{self.url}/{PurePosixPath(inside)}")

    def with_name(self, name: str) -> Remote:
        """Another file in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> Remote:
        """The file of the same name with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, folder: Remote) -> PurePosixPath:
        """The path inside a folder."""
        return PurePosixPath(self.url.removeprefix(f"{folder.url}/"))

    def resolve(self) -> Remote:
        """The location itself: there are no links behind URLs."""
        return self

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        with _explained("read", self):
            system, path = self._system()
            return bool(system.isdir(path))

    def about(self) -> tuple[int, str] | None:
        """The size in bytes and a token that changes when the file does; None if there is no such file."""
        with _explained("read", self):
            system, path = self._system()
            try:
                found = system.info(path)  # one request
            except FileNotFoundError:
                return None
        return (int(found["size"]), tokenize(found)) if found["type"] == "file" else None

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content of a small file."""
        with _explained("read", self):
            system, path = self._system()
            return str(system.cat_file(path).decode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        with _explained("remove", self):
            system, path = self._system()
            if not missing_ok or system.exists(path):
                system.rm_file(path)

    def files(self, recursive: bool = False) -> list[Remote]:
        """The files in this folder, sorted; those of folders inside, too, on request."""
        with _explained("list", self):
            system, path = self._system()
            found = system.find(path, maxdepth=None if recursive else 1)
        return [Remote(url) for url in sorted(str(system.unstrip_protocol(name)) for name in found)]

    def fetch(self, path: Path) -> None:
        """Copy the file to this machine."""
        with _explained("read", self):
            system, name = self._system()
            system.get_file(name, str(path))

    def store(self, path: Path) -> None:
        """Copy a file of this machine to here; a reader sees the old file or the new one, never a part."""
        with _explained("write", self):
            system, name = self._system()
            system.makedirs(posixpath.dirname(name), exist_ok=True)
            with system.transaction:  # written beside, then renamed, where a file would grow in sight of readers
                system.put_file(str(path), name)

    def _system(self) -> tuple[Any, str]:
        """The driver, which is the same for all files of a server, and its name for the file."""
        system, path = fsspec.core.url_to_fs(self.url)
        return system, path


def parse_location(text: str) -> Path | Remote:
    """The location that an argument names: a path, or a URL whose driver is there.

    Raises:
        InputError: there is no driver, or one that only this process would see.
    """
    if text.startswith(_HERE):
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
    return Remote(text.rstrip("/"))


@contextmanager
def _explained(verb: str, remote: Remote) -> Iterator[None]:
    """Make whatever goes wrong with a file one sentence that names it; want of memory is no matter of the file.

    Every driver raises errors of its own, so nothing less than `Exception` names them all.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot {verb} {remote}: {reason}") from error
