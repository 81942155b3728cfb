"""How much memory there is, how much of it this process takes, and what running out of it looks like.

PyTorch is not imported here, because importing it may be what runs out of memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

_EXHAUSTED = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "failed to map segment",  # of a library that is to be loaded
    "can't start new thread",
    "alloc_failed",  # cuDNN's, cuBLAS'
)
_WITHOUT_REASON = ("could not create a ", "could not execute a primitive")  # oneDNN's, for want of memory and for bugs
_LITTLE = 2**29  # bytes
_CGROUPS = (  # versions 2 and 1: root, limit, use, and the part of memory.stat that is given back on demand
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup", "memory.high", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_ULIMITS = (  # as /proc/self/limits and /proc/self/status name them, and the shell
    ("Max address space", "VmSize", "ulimit -v"),
    ("Max data size", "VmData", "ulimit -d"),
)
_IMPORTS = 2**28  # bytes that Python, NumPy, PyTorch and this package take beside PyTorch's libraries
_THREAD = 2**27  # bytes for each thread; most is its stack and what it computes with
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h


class Limit(NamedTuple):
    """A limit of the memory of this process, in words for messages.

    Attributes:
        free: bytes that can still be taken.
        where: which limit it is, to stand after "are free" in a sentence; empty for the machine's memory.
        remedy: what the user can do to get more.
    """

    free: int
    where: str = ""
    remedy: str = "close other programs"


def tightest(device: torch.device | None = None) -> Limit:
    """The limit that leaves least: of a GPU or, for any other device, of the machine, the container and the process."""
    if device is not None and device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return Limit(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device), " on the GPU")
    sharers = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that torchrun or Ray started on this machine
    least = min(_limits(), default=Limit(2**32))
    return least._replace(free=least.free // sharers)


def available(device: torch.device) -> int:
    """Bytes that can still be taken on a device: of the machine, the container or the process, whichever is least."""
    return tightest(device).free


def resident() -> int:
    """Bytes of memory that this process has in use; 256 MiB where the system does not tell."""
    return _kilobytes("/proc/self/status", "VmRSS") or 2**28


def is_exhaustion(error: BaseException) -> bool:
    """Whether an exception means that memory ran out. PyTorch has a type for this on GPUs only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    if isinstance(error, RuntimeError) and any(words in text for words in _WITHOUT_REASON):
        return tightest().free < _LITTLE
    told = not isinstance(error, ValueError) and any(words in text for words in _EXHAUSTED)
    return told or isinstance(error, MemoryError)


@contextmanager
def explain_exhaustion(advice: str = "") -> Iterator[None]:
    """Turn any error for want of memory in the body into a `MemoryError` that says how much is free and what to do.

    A `MemoryError` that already has a message passes unchanged.

    Args:
        advice: what else the user can do.
    """
    try:
        yield
    except Exception as error:
        if not is_exhaustion(error) or (type(error) is MemoryError and str(error)):
            raise
        free, where, remedy = tightest()
        if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, of GPUs
            raise MemoryError(f"there is not enough memory on the GPU; {advice or remedy}") from error
        remedy += advice and f", or {advice}"
        raise MemoryError(f"there is not enough memory: {free / 2**20:.0f} MiB are free{where}; {remedy}") from error


def prepare_for_limits() -> None:
    """Prepare for loading PyTorch and NumPy where the memory of the process is limited (`ulimit`).

    Call it before they are imported and threads are started: these libraries end the process without a message when
    memory runs out while they load or start their threads.

    Raises:
        MemoryError: the limit is below what the libraries take.
    """
    least = min(_own_limits(), default=None)
    if least is None or "torch" in sys.modules:
        return
    for limit in _own_limits():
        needed = _IMPORTS + (_library_bytes() if limit.where.endswith("-v`") else 0)
        if limit.free < needed:
            raise MemoryError(
                f"there is not enough memory: PyTorch alone takes about {needed / 2**20:.0f} MiB, "
                f"{limit.free / 2**20:.0f} MiB are free{limit.where}; {limit.remedy}"
            )
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each thread takes 32 MiB at once; nothing here computes in it
    threads = max(1, least.free // _THREAD)
    if threads < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)  # glibc would take 64 MiB of addresses for every thread
        libc.mallopt(_M_MMAP_THRESHOLD, 2**20)  # and keep those of larger tiles, in pieces, from smaller ones


def _library_bytes() -> int:
    """The size of PyTorch's libraries, nearly all of which are loaded with it."""
    found = find_spec("torch")
    folders = found.submodule_search_locations if found is not None else None
    return sum(path.stat().st_size for folder in folders or () for path in Path(folder, "lib").glob("*.so*"))


def _limits() -> Iterator[Limit]:
    """All known limits: Linux's estimate of free memory, those of the container, those of the process.

    Version 1 of control groups is obsolete, but still what limits containers on machines with long-term support.
    """
    free = _kilobytes("/proc/meminfo", "MemAvailable")
    if free is not None:
        yield Limit(free)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield Limit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    groups = re.findall(r"^\d+:(?:memory)?:(.*)$", _text("/proc/self/cgroup"), re.MULTILINE)
    for root, limit, use, cache in _CGROUPS:
        inner = (Path(root + group) for group in groups)
        for folder in {Path(root), *(above for path in inner for above in (path, *path.parents))}:
            most, now = _text(folder / limit).strip(), _text(folder / use).strip()
            cached = _number(rf"^{cache} (\d+)$", folder / "memory.stat") or 0
            if most.isdigit() and now.isdigit():
                free = max(0, int(most) - int(now) + cached)
                yield Limit(free, " in this container or control group", "give it more")
    yield from _own_limits()


def _own_limits() -> Iterator[Limit]:
    """The limits of this process for addresses and for data (memory that no file backs), where there are any."""
    for name, field, command in _ULIMITS:
        most, taken = _number(rf"^{name}\s+(\d+)", "/proc/self/limits"), _kilobytes("/proc/self/status", field)
        if most is not None and taken is not None:
            yield Limit(max(0, most - taken), f" under `{command}`", "raise it")


def _kilobytes(path: str, field: str) -> int | None:
    """A field of a file like /proc/meminfo, in bytes; None if it is not there."""
    found = _number(rf"^{field}:\s+(\d+) kB", path)
    return None if found is None else 1024 * found


def _number(pattern: str, path: str | Path) -> int | None:
    """The number in the first line of a file that matches; None if there is none."""
    match = re.search(pattern, _text(path), re.MULTILINE)
    return int(match[1]) if match else None


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
