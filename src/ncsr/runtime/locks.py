"""Files and folders that one process has for itself; the system gives them back when it ends, however it ends.

A lock is a hidden file, locked by `flock` and removed when it is let go. Where the system or the file system has no
`flock`, nothing is locked.
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
"""How the names of files begin that take the place of others when they are whole, and are locked until then."""
_LOCK = ".ncsr-lock"


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes, and other calls in this one, from writing to `path` while the body runs.

    Args:
        path: a folder that is there, or the path of a file that may not be there yet, in a folder that is.

    Raises:
        InputError: another has it, whose process the sentence names; the folder cannot be written to.
    """
    with Locks() as locks:
        locks.take(Path(path))
        yield


class Locks:
    """A context with any number of locks, which may also be given back one by one; see `exclusive`."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[Path, int]] = {}

    def take(self, path: Path) -> None:
        """Have `path` alone from now on; the error if another has it is that of `exclusive`."""
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]  # names may be as long as the system allows
        file = path / _LOCK if path.is_dir() else path.with_name(f"{_LOCK}-{digest}")
        try:
            descriptor = hold(file)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; choose another -o") from error
        if descriptor is None:
            raise InputError(f"{path} is being written by {_holder(file)}: wait until that ends, or choose another -o")
        self._held[path] = file, descriptor
        with suppress(OSError):  # a full disk keeps the name alone
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {socket.gethostname()}".encode())

    def give_back(self, path: Path) -> None:
        """Let others have `path`, if it was taken."""
        if path in self._held:
            release(*self._held.pop(path))

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *_: object) -> None:
        for path in list(self._held):
            self.give_back(path)


def hold(file: Path) -> int | None:
    """Lock a file, which is made if it is not there; returns its open descriptor, or None while another has it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        if _lock(descriptor) is False:
            os.close(descriptor)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.lstat()):
                return descriptor
        os.close(descriptor)  # whoever had it removed it in between


def release(file: Path, descriptor: int) -> None:
    """Let go of a file that is held, and remove it if it is still there."""
    if fcntl is None:  # where open files cannot be removed
        os.close(descriptor)
    with suppress(OSError):
        file.unlink()  # while it is locked: whoever locks it next sees that it is gone
    if fcntl is not None:
        os.close(descriptor)


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files of `atomic_path` that processes which are no more left in a folder."""
    for file in Path(folder).glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            if _lock(descriptor):
                file.unlink()
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the open file is locked now; False if another has it, None where there are no locks."""
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
