"""What memory is free, and how its want is told from other failures."""

from __future__ import annotations

import pytest
import torch

from ncsr.runtime import memory


def test_available_memory_is_the_least_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n",
        "/proc/self/cgroup": "0::/box\n",
        "/sys/fs/cgroup/box/memory.max": "max\n",
        "/sys/fs/cgroup/memory.max": "4096000\n",
        "/sys/fs/cgroup/memory.current": "1024000\n",
        "/proc/self/limits": "Max address space  unlimited  unlimited  bytes\n",
    }
    monkeypatch.setattr(memory, "_text", lambda path: files.get(str(path), ""))
    cpu = torch.device("cpu")
    assert memory.available(cpu) == 3072000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory.available(cpu) == 5000 * 1024
    files["/proc/self/limits"] = "Max address space  3000000  unlimited  bytes\n"
    files["/proc/self/status"] = "VmSize:  1000 kB\n"
    assert memory.available(cpu) == 3000000 - 1024000
    files |= {"/proc/self/cgroup": "4:memory:/a\n", "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "500"}
    files["/sys/fs/cgroup/memory/a/memory.usage_in_bytes"] = "600"
    assert memory.available(cpu) == 0


def test_what_files_left_in_a_containers_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/self/cgroup": "0::/job",
        "/sys/fs/cgroup/job/memory.max": "1000",
        "/sys/fs/cgroup/job/memory.current": "900",
        "/sys/fs/cgroup/job/memory.stat": "anon 200\ninactive_file 600\nactive_file 100",
    }
    monkeypatch.setattr(memory, "_text", lambda path: texts.get(str(path), ""))
    assert memory.available(torch.device("cpu")) == 700


def test_want_of_memory_is_told_from_other_failures() -> None:
    assert memory.is_exhaustion(MemoryError())
    assert memory.is_exhaustion(torch.OutOfMemoryError("CUDA out of memory"))
    assert memory.is_exhaustion(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not memory.is_exhaustion(RuntimeError("shapes differ"))
    assert not memory.is_exhaustion(ValueError("out of memory"))
