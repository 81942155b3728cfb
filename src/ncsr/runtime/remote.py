"""Files behind URLs (s3://, gs://, sftp://, ...): as much of `pathlib.Path` as plans and records need.

What has pixels is fetched to this machine and stored from it, so only whole files travel. fsspec and its drivers do the
work; a driver is a package of its own, named in the sentence that misses it.
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
from ncsr.images import SUFFIXES

_HERE = ("file://", "local://")


@dataclass(frozen=True)
class Remote:
    """A file or a folder behind a URL, which has no slash at its end."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return posixpath.basename(self.url)

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Of the last part."""
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
        """The same with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, folder: Remote) -> PurePosixPath:
        """The path inside a folder."""
        return PurePosixPath(self.url.removeprefix(f"{folder.url}/"))

    def resolve(self) -> Remote:
        """Itself: there are no links."""
        return self

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        with _explained("read", self):
            system, path = self._system()
            return bool(system.isdir(path))

    def about(self) -> tuple[int, str] | None:
        """Size in bytes, and what changes when the file does; None: no such file."""
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

    def photos(self, recursive: bool = False) -> list[Remote]:
        """As `find_photos`, of the folder that this is."""
        with _explained("list", self):
            system, path = self._system()
            found = system.find(path, maxdepth=None if recursive else 1)
        files = [Remote(str(system.unstrip_protocol(name))) for name in found]
        photos = [
            file
            for file in sorted(files, key=str)
            if file.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in file.relative_to(self).parts)
        ]
        if not photos:
            raise InputError(f"the folder {self} holds no photographs ({' '.join(sorted(SUFFIXES))})")
        return photos

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
        """The driver and its name of the file; the same driver for all files of a place."""
        system, path = fsspec.core.url_to_fs(self.url)
        return system, path


def parse_location(text: str) -> Path | Remote:
    """What an argument names: a path, or a URL whose driver is there.

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
    """Make whatever goes wrong with a file one sentence that names it: every driver raises errors of its own."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot {verb} {remote}: {reason}") from error
