"""Locks by which one process keeps others from writing a file or folder; they end with the process, however it ends.

A lock is a hidden file, locked by `flock` and removed on release. Where the system or the file system has no `flock`,
nothing is locked.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ncsr.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".ncsr-tmp-"
"""Prefix of temporary files, which stay locked until they are complete and take the place of another file."""
_LOCK = ".ncsr-lock"


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes, and other calls in this one, from writing to `path` while the body runs.

    Args:
        path: an existing folder, or a file (which need not exist) in an existing folder.

    Raises:
        InputError: another process, which the sentence names, has the lock; or the folder cannot be written to.
    """
    with Locks() as locks:
        locks.take(Path(path))
        yield


class Locks:
    """A context that holds any number of locks, and releases the remaining ones at its end; see `exclusive`."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[Path, int]] = {}

    def take(self, path: Path) -> None:
        """Lock `path`; errors are those of `exclusive`."""
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]  # names may be as long as the system allows
        file = path / _LOCK if path.is_dir() else path.with_name(f"{_LOCK}-{digest}")
        try:
            descriptor = hold(file)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; choose another -o") from error
        if descriptor is None:
            raise InputError(f"{path} is being written by {_holder(file)}: wait until that ends, or choose another -o")
        self._held[path] = file, descriptor
        with suppress(OSError):  # on a full disk the file stays empty, which is a lock all the same
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {socket.gethostname()}".encode())

    def give_back(self, path: Path) -> None:
        """Release `path`, if it was taken."""
        if path in self._held:
            release(*self._held.pop(path))

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *_: object) -> None:
        for path in list(self._held):
            self.give_back(path)


def hold(file: Path) -> int | None:
    """Lock a file, made if it does not exist; returns its open descriptor, or None while another process has it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        if _lock(descriptor) is False:
            os.close(descriptor)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.lstat()):
                return descriptor
        os.close(descriptor)  # the process that held it removed it in between


def release(file: Path, descriptor: int) -> None:
    """Unlock a file that `hold` locked, and remove it if it still exists."""
    if fcntl is None:  # where open files cannot be removed
        os.close(descriptor)
    with suppress(OSError):
        file.unlink()  # while it is locked: the next process to lock it sees that it is gone
    if fcntl is not None:
        os.close(descriptor)


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files of `atomic_path` that killed processes left in a folder."""
    for file in Path(folder).glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            if _lock(descriptor):
                file.unlink()
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Try to lock an open file: True if it worked, False if another has the lock, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _holder(file: Path) -> str:
    """The process that has a lock, as a sentence calls it."""
    try:
        pid, host = file.read_text(encoding="utf-8", errors="replace").split()
    except (OSError, ValueError):  # it ended, or has not said it yet
        return "another process"
    return f"process {pid}" + ("" if host == socket.gethostname() else f" on {host}")
