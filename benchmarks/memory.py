"""Memory and time of a training step, with and without recomputing activations, at full size x4.

    python -m benchmarks.memory            a batch of 4 crops of 160 x 160, each setting in a process of its own

Memory is counted twice: the tensors that a step makes and that live at one time, which is what an accelerator's
allocator would report, and the process's resident memory (Linux), which the C library's allocator rounds up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.speed import CROP, package_model, step
from benchmarks.timing import machine
from benchmarks.yardstick import full_x4
from ncsr.runtime.device import keep_freed_memory


class Cost(NamedTuple):
    """What one setting takes.

    Attributes:
        tensors: MiB of all tensors that a step makes and that live at one time, at most.
        held: MiB of the process between steps: model, gradients, Adam's state, libraries.
        peak: MiB of the process at most, during a step.
        seconds: of the fastest step.
    """

    tensors: float
    held: float
    peak: float
    seconds: float


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is open and have not been freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        result = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, storage: UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def measure(recompute: bool, batch: int, steps: int) -> Cost:
    """Run a few steps in this process."""
    keep_freed_memory()
    model = package_model(full_x4(), "float32").train()
    model.recompute = recompute
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()  # makes its state
    held = _mib("VmRSS")
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(batch, 3, CROP, CROP, generator=generator)
    lr = torch.rand(batch, 3, CROP // 4, CROP // 4, generator=generator)
    noise = 0.03 * torch.randn(hr.shape, generator=generator)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step(model, optimiser, hr, lr, noise)
        seconds.append(time.perf_counter() - start)
    peak = _mib("VmHWM")
    with LiveTensors() as live:
        model(hr, lr, noise).mean().backward()
    return Cost(live.peak / 2**20, held, peak, min(seconds))


def _mib(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 2**10
    raise RuntimeError(f"no {key} in /proc/self/status: this needs Linux")


def main() -> None:
    """Print both settings and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", choices=["kept", "recomputed"], help="one setting, in this process, as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only == "recomputed", options.batch, options.steps)))
        return
    print(f"{machine()}; full-size x4, {options.batch} crops of {CROP} x {CROP}, float32")
    costs = {}
    for name in ("kept", "recomputed"):
        command = [sys.executable, "-m", "benchmarks.memory", "--only", name]
        command += ["--batch", str(options.batch), "--steps", str(options.steps)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        cost = costs[name] = Cost(*json.loads(output.splitlines()[-1]))
        print(
            f"activations {name}: {cost.tensors:.0f} MiB of tensors; process {cost.held:.0f} MiB between steps, "
            f"{cost.peak:.0f} at most; {cost.seconds:.1f} s"
        )
    kept, again = costs["kept"], costs["recomputed"]
    print(
        f"recomputed over kept: {again.tensors / kept.tensors:.2f} of the step's tensors, "
        f"{(again.peak - again.held) / (kept.peak - kept.held):.2f} of what the process grows by, "
        f"{again.seconds / kept.seconds:.2f} times the time"
    )


if __name__ == "__main__":
    main()
