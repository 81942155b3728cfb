"""How much memory there is, how much of it this process takes, and what running out of it looks like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch

_EXHAUSTED = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")
_CGROUPS = (  # versions 2 and 1: root, limit, use, and the part of memory.stat that is given back on demand
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available(device: torch.device) -> int:
    """Bytes that can still be taken on a device: of the machine, the container or the process, whichever is least."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    sharers = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that torchrun or Ray started on this machine
    return min(_limits(), default=2**32) // sharers


def resident() -> int:
    """Bytes of memory that this process has in use; 256 MiB where the system does not tell."""
    return _kilobytes("/proc/self/status", "VmRSS") or 2**28


def is_exhaustion(error: BaseException) -> bool:
    """Whether an exception tells of memory that ran out. PyTorch has a type for this on GPUs alone."""
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in _EXHAUSTED)
    return told or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _limits() -> Iterator[int]:
    """Free bytes as far as the system tells: Linux's estimate, the container's limit, the process's own limit.

    Version 1 of control groups is obsolete, but still what limits containers on machines with long-term support.
    """
    free = _kilobytes("/proc/meminfo", "MemAvailable")
    if free is not None:
        yield free
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    groups = re.findall(r"^\d+:(?:memory)?:(.*)$", _text("/proc/self/cgroup"), re.MULTILINE)
    for root, limit, use, cache in _CGROUPS:
        for folder in {Path(root), *(Path(root + group) for group in groups)}:
            most, now = _text(folder / limit).strip(), _text(folder / use).strip()
            cached = _number(rf"^{cache} (\d+)$", folder / "memory.stat") or 0
            if most.isdigit() and now.isdigit():
                yield max(0, int(most) - int(now) + cached)
    most_addresses = _number(r"^Max address space\s+(\d+)", "/proc/self/limits")  # ulimit -v
    addresses = _kilobytes("/proc/self/status", "VmSize")
    if most_addresses is not None and addresses is not None:
        yield max(0, most_addresses - addresses)


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
