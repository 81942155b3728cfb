"""How much memory there is, how much a tile takes, and what running out of it looks like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch

_SAYS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")


def available(device: torch.device) -> int:
    """Bytes that can still be taken on a device: of the machine, the container or the process, whichever is least."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    sharers = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes that torchrun or Ray started on this machine
    return min(_limits(), default=2**32) // sharers


def resident() -> int:
    """Bytes of memory that this process has in use."""
    match = re.search(r"VmRSS:\s+(\d+) kB", _text("/proc/self/status"))
    return int(match[1]) * 1024 if match else 2**28


def is_exhaustion(error: BaseException) -> bool:
    """Whether an exception tells of memory that ran out. PyTorch has a type for this on GPUs alone."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS)


def release(device: torch.device) -> None:
    """Give memory that is cached back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _limits() -> Iterator[int]:
    """Free bytes as far as the system tells: Linux's estimate, control groups (1 and 2), the process's own limit."""
    match = re.search(r"MemAvailable:\s+(\d+) kB", _text("/proc/meminfo"))
    if match:
        yield int(match[1]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            for root, limit, used, cached in (
                ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            ):
                for folder in (Path(root + group), Path(root)):
                    top, now = _text(folder / limit).strip(), _text(folder / used).strip()
                    given_back = re.search(rf"^{cached} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
                    if top.isdigit() and now.isdigit():  # what files left in memory goes when something else wants it
                        yield max(0, int(top) - int(now) + (int(given_back[1]) if given_back else 0))
    match = re.search(r"Max address space\s+(\d+)", _text("/proc/self/limits"))
    taken = re.search(r"VmSize:\s+(\d+) kB", _text("/proc/self/status"))
    if match and taken:
        yield max(0, int(match[1]) - int(taken[1]) * 1024)


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
