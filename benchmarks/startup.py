"""How long a command takes to begin: the CPU time of `ncsr --help`, and a first picture from a cold start.

    python -m benchmarks.startup

The budget of `--help` and `--version` is a sixth of what `import torch` takes, and what a bare interpreter takes. The
first picture is one sample of the example photograph, 112 x 74 pixels, from the start of the process to its end, beside
`import torch` alone: two seconds more are its budget.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_RUNS = 5
_PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "cat.png"


def seconds(*arguments: str) -> tuple[float, float]:
    """One run of Python with these arguments, as CPU time (user and system) and by the clock: the least of several."""
    used, passed = [], []
    for _ in range(_RUNS):
        before, start = os.times(), time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        passed.append(time.perf_counter() - start)
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(used), min(passed)


def main() -> None:
    """Print all times, and those of the commands as shares of the budget."""
    bare, _ = seconds("-c", "pass")
    torch, torch_clock = seconds("-c", "import torch")
    budget = torch / 6 + bare
    print(f"python -c pass {bare:.3f} s, import torch {torch:.3f} s, so the budget is {budget:.3f} s")
    for option in ("--help", "--version"):
        used, _ = seconds("-m", "ncsr", option)
        print(f"ncsr {option} {used:.3f} s, {used / budget:.2f} of the budget")
    for model in ("x4-small", "x4"):
        with tempfile.TemporaryDirectory() as folder:
            command = ("-m", "ncsr", "upscale", str(_PHOTOGRAPH), "-o", folder, "-n", "1", "-m", model)
            _, passed = seconds(*command)
        print(f"first picture by {model}: {passed:.2f} s, {passed - torch_clock:.2f} s beyond import torch")


if __name__ == "__main__":
    main()
