"""Where to compute, and in which precision."""

from __future__ import annotations

import ctypes
import sys
from typing import Literal

import torch

from ncsr.errors import InputError
from ncsr.runtime.memory import is_exhaustion

Precision = Literal["auto", "float32", "tf32", "bfloat16"]
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def pick_device(name: str) -> torch.device:
    """The device of a name: `auto` is the first accelerator, or else the CPU; anything else is a torch device name.

    Raises:
        InputError: if there is no such device on this machine.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()  # "meta" has tensors without numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if is_exhaustion(error):
            raise
        raise InputError(f"no device {name!r} on this machine: use 'auto' or 'cpu'") from None
    return device


def bfloat16_pays(device: torch.device) -> bool:
    """Whether convolutions run faster in bfloat16 on a device: on CPUs with AMX or AVX512-BF16 units, on such GPUs."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, and use it again, instead of handing it back to the system.

    For commands that do the same large computation again and again on a CPU: with glibc, every tensor above 32 MiB
    otherwise gets fresh pages, and their page faults take longer than filling them. Without glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
