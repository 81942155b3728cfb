"""float32 products that are float32, or TF32 where that is asked for, whatever the process permits.

PyTorch lets a program permit products of rounded factors: TF32 on GPUs, for convolutions from the start, and bfloat16
on CPUs with units for it (`torch.set_float32_matmul_precision("medium")`). The flow variable would carry such errors,
2^-11 and 2^-8, through all layers. A permission holds for the whole process, so it is taken back while something is
computed, and given again by the last thread that leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch

_backends: Any = torch.backends  # without types
_FLAGS = (_backends.cudnn.conv, _backends.cuda.matmul, _backends.mkldnn.conv, _backends.mkldnn.matmul)
_EXACT, _TF32 = ("ieee",) * 4, ("tf32", "ieee", "ieee", "ieee")

_lock = Lock()
_entered = {False: 0, True: 0}  # by all threads: contexts that do not, and that do permit TF32
_own: tuple[str, ...] = ()  # the process's flags, while any context is entered


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """In this context, what is computed on a device has its operands' precision, whatever autocast and flags permit."""
    available = torch.amp.is_autocast_available(device.type)  # of "meta" it is not
    with torch.autocast(device.type, enabled=False) if available else nullcontext(), float32_products():
        yield


def float32_products(*, tf32: bool = False) -> AbstractContextManager[None]:
    """In this context, convolutions and matrix products of float32 tensors round as float32 does.

    Contexts nest, and several threads may have theirs: TF32 is used only while all of them permit it. A backward pass
    goes by the context that it runs in. In a graph that is compiled or exported, contexts do nothing.

    Args:
        tf32: whether GPUs may round the factors of convolutions to TF32.
    """
    return nullcontext() if torch.compiler.is_compiling() else _Float32Products(tf32)


class _Float32Products(AbstractContextManager[None]):
    def __init__(self, tf32: bool) -> None:
        self.tf32 = tf32

    def __enter__(self) -> None:
        _count(self.tf32, 1)

    def __exit__(self, *error: object) -> None:
        _count(self.tf32, -1)


def _count(tf32: bool, change: int) -> None:
    """Enter (1) or leave (-1) a context, and set the process's flags as the contexts then entered want them."""
    global _own
    with _lock:
        if not any(_entered.values()):
            _own = tuple(flag.fp32_precision for flag in _FLAGS)
        before = _wanted()
        _entered[tf32] += change
        if (wanted := _wanted()) is before:
            return
        for flag, value in zip(_FLAGS, wanted, strict=True):
            now = flag.fp32_precision
            if now != value and (now, value) != ("none", "ieee"):  # with none, nothing is permitted
                flag.fp32_precision = value


def _wanted() -> tuple[str, ...]:
    return _EXACT if _entered[False] else _TF32 if _entered[True] else _own
