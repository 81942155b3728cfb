"""What memory is free, and how its want is told from other failures."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
import torch

from ncsr.runtime import memory
from tests.conftest import process_environment


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
    assert memory.is_exhaustion(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert memory.is_exhaustion(RuntimeError("unable to mmap 11266694 bytes: Cannot allocate memory (12)"))
    assert memory.is_exhaustion(RuntimeError("can't start new thread"))
    assert memory.is_exhaustion(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert not memory.is_exhaustion(ImportError("no module of this name"))
    assert not memory.is_exhaustion(OSError(errno.ENOSPC, "No space left on device"))
    assert not memory.is_exhaustion(RuntimeError("shapes differ"))
    assert not memory.is_exhaustion(ValueError("out of memory"))


@pytest.mark.parametrize(("kilobytes", "told"), [(2**19, True), (2**20, False)])
def test_a_failure_without_a_reason_is_want_of_memory_where_there_is_little(
    monkeypatch: pytest.MonkeyPatch, kilobytes: int, told: bool
) -> None:
    texts = {"/proc/meminfo": f"MemAvailable: {kilobytes - 1} kB"}
    monkeypatch.setattr(memory, "_text", lambda path: texts.get(str(path), ""))
    assert memory.is_exhaustion(RuntimeError("could not create a primitive")) == told


def test_the_tightest_limit_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/meminfo": "MemAvailable: 5000 kB",
        "/proc/self/limits": "Max data size  2048000  unlimited  bytes\nMax address space  9000000  unlimited  bytes",
        "/proc/self/status": "VmSize:  6000 kB\nVmData:  1000 kB",
        "/proc/self/cgroup": "0::/user/job/step",
        "/sys/fs/cgroup/user/memory.max": "9999",
        "/sys/fs/cgroup/user/memory.high": "900",
        "/sys/fs/cgroup/user/memory.current": "200",
    }
    monkeypatch.setattr(memory, "_text", lambda path: texts.get(str(path), ""))
    assert memory.tightest() == (700, " in this container or control group", "give it more")  # of one around its own
    texts["/proc/self/cgroup"] = "0::/other"
    assert memory.tightest() == (1024000, " under `ulimit -d`", "raise it")
    texts["/proc/self/status"] = "VmSize:  8700 kB\nVmData:  1000 kB"
    assert memory.tightest() == (9000000 - 8700 * 1024, " under `ulimit -v`", "raise it")
    sentence = "^there is not enough memory: 0 MiB are free under `ulimit -v`; raise it, or ask for less$"
    with pytest.raises(MemoryError, match=sentence), memory.explain_exhaustion("ask for less"):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(MemoryError, match=r"^not enough for a\.png$"), memory.explain_exhaustion():
        raise MemoryError("not enough for a.png")
    with pytest.raises(RuntimeError, match="a bug"), memory.explain_exhaustion():
        raise RuntimeError("a bug")


def test_pytorch_is_not_loaded_where_it_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/self/limits": "Max address space  600000000  unlimited  bytes",
        "/proc/self/status": "VmSize:  24 kB",
    }
    monkeypatch.setattr(memory, "_text", lambda path: texts.get(str(path), ""))
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(MemoryError, match=r"PyTorch alone takes about \d+ MiB, 572 MiB are free under `ulimit -v`"):
        memory.prepare_for_limits()
    code = "import sys, ncsr.runtime.memory; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=process_environment()
    )
    assert done.stdout == "False\n"
