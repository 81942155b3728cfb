"""The CPU time of `ncsr --help` and `ncsr --version`, beside that of importing PyTorch.

    python -m benchmarks.startup

The budget is a sixth of what `import torch` takes, and what a bare interpreter takes.
"""

from __future__ import annotations

import os
import subprocess
import sys

_RUNS = 5


def cpu_seconds(*arguments: str) -> float:
    """User and system time of one run of Python with these arguments: the least of several."""
    times = []
    for _ in range(_RUNS):
        before = os.times()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times)


def main() -> None:
    """Print all times, and those of the commands as shares of the budget."""
    bare, torch = cpu_seconds("-c", "pass"), cpu_seconds("-c", "import torch")
    budget = torch / 6 + bare
    print(f"python -c pass {bare:.3f} s, import torch {torch:.3f} s, so the budget is {budget:.3f} s")
    for option in ("--help", "--version"):
        seconds = cpu_seconds("-m", "ncsr", option)
        print(f"ncsr {option} {seconds:.3f} s, {seconds / budget:.2f} of the budget")


if __name__ == "__main__":
    main()
