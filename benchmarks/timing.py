"""Fair timing on the CPU: jobs are repeated in turns, so that a slow minute of the machine hits all of them.

Seconds depend on the machine and on what else runs there; ratios of jobs timed in one run carry over. The convolution
rates say what the machine could do: a job's arithmetic divided by its time is comparable to them.

`python -m benchmarks.timing` prints the rates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ncsr.runtime.timing import convolution_rate, machine

__all__ = ["Seconds", "compare", "convolution_rate", "machine", "ratios"]


@dataclass(frozen=True)
class Seconds:
    """How long the repeats of one job took."""

    repeats: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.repeats)

    @property
    def median(self) -> float:
        return statistics.median(self.repeats)

    def __str__(self) -> str:
        return f"{self.best:.3f} s at best, {self.median:.3f} s median of {len(self.repeats)}"


def compare(jobs: Mapping[str, Callable[[], object]], repeats: int = 5, warmup: int = 1) -> dict[str, Seconds]:
    """Time jobs in turns: each runs once per round, `warmup` rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(warmup + repeats):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: Seconds(tuple(times[warmup:])) for name, times in seconds.items()}


def ratios(slow: Seconds, fast: Seconds) -> str:
    """How many times as fast the second job is, as a line to print."""
    return f"{slow.best / fast.best:.2f} times at best, {slow.median / fast.median:.2f} times by the medians"


def main() -> None:
    """Print the convolution rates of this machine."""
    print(machine())
    for in_channels in (64, 320):
        rates = {dtype: convolution_rate(dtype, in_channels) for dtype in (torch.float32, torch.bfloat16)}
        line = ", ".join(f"{str(dtype).removeprefix('torch.')} {rate:.0f} GFLOP/s" for dtype, rate in rates.items())
        print(f"3x3 convolution {in_channels} -> 64: {line} ({rates[torch.bfloat16] / rates[torch.float32]:.1f} times)")


if __name__ == "__main__":
    main()
