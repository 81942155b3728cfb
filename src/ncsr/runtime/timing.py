"""How fast this machine is, and how fast it could be at a given job.

A job's floor is its arithmetic over the rate of one well-shaped convolution: no time goes to memory or to overhead.
"""

from __future__ import annotations

import os
import re
import time
import timeit
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


def machine(device: torch.device | str = "cpu") -> str:
    """A line that describes the machine: PyTorch, processor or GPU, threads, load."""
    parts = [f"torch {torch.__version__}"]
    if torch.device(device).type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    else:
        information = Path("/proc/cpuinfo")
        text = information.read_text(errors="replace") if information.is_file() else ""
        name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
        units = torch.backends.cpu.get_cpu_capability()  # the vector units that torch uses
        parts.append(f"{torch.get_num_threads()} threads of {os.cpu_count()} CPUs")
        parts.append(f"{name[1]} ({units})" if name else units)
    if hasattr(os, "getloadavg"):
        parts.append(f"load {os.getloadavg()[0]:.1f}")
    return ", ".join(parts)


def seconds_of(job: Callable[[], object], device: torch.device | str = "cpu", repeats: int = 3) -> float:
    """Seconds of the fastest of some runs, until the device is done; run the job once before, as a warm-up."""
    return min(timeit.repeat(job, timer=partial(now, device), number=1, repeat=repeats))


def now(device: torch.device | str) -> float:
    """The time of a clock in seconds, read after the device has finished all its work."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def duration(seconds: float) -> str:
    """A time to read: `3.4 s`, `12 min`, `5.2 h` or `3.1 days`."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h" if hours < 48 else f"{days:.1f} days"


def gigaflops(job: Callable[[], object]) -> float:
    """The arithmetic of a job's convolutions and matrix products, 10^9 operations; a multiply-add counts as two."""
    formulas: dict[Any, Any] = {torch.ops.aten.mkldnn_convolution: _convolution}
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):  # the operators of `PrepackedConv`
        formulas[torch.ops.mkldnn._convolution_pointwise] = _convolution
        formulas[torch.ops.mkldnn._convolution_pointwise_] = lambda target, *inputs, out_shape: _convolution(
            *inputs, out_shape=out_shape
        )
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        job()
    return float(counter.get_total_flops()) / 1e9


def _convolution(image: Sequence[int], weight: Sequence[int], *others: object, out_shape: Sequence[int]) -> int:
    """The operations of an operator that torch does not count, from shapes."""
    return 2 * prod(out_shape) * prod(weight[1:])


def convolution_rate(
    dtype: torch.dtype, in_channels: int = 64, side: int = 128, device: torch.device | str = "cpu"
) -> float:
    """GFLOP/s of one 3x3 convolution to 64 channels, channels-last, on a side x side image."""
    images = torch.randn(1, in_channels, side, side, device=device).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(64, in_channels, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = seconds_of(lambda: F.conv2d(images, weight, padding=1), device, repeats=20)
    return 2 * 9 * in_channels * 64 * side**2 / seconds / 1e9
