"""Whether plans come true: `ncsr plan` against `ncsr upscale`, time and memory.

    python -m benchmarks.plan [--model x4-small] [--sizes 160x120 400x300] [-n 2] [--tile auto]

The photographs are mosaics of the example. The time of a command is counted from when its packages are imported.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import machine

PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "cat.png"
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_MEBIBYTES = {"MiB": 1, "GiB": 1024}
_TIMED = """
import sys, time
from ncsr.cli import main
start = time.perf_counter()
try:
    main()
finally:
    print(time.perf_counter() - start, file=sys.stderr)
"""


def mosaic(width: int, height: int) -> Image.Image:
    """The example and its mirror images, repeated."""
    cat = np.asarray(Image.open(PHOTOGRAPH))
    pattern = np.concatenate((cat, cat[:, ::-1]), 1)
    pattern = np.concatenate((pattern, pattern[::-1]))
    repeats = -(-height // pattern.shape[0]), -(-width // pattern.shape[1]), 1
    return Image.fromarray(np.tile(pattern, repeats)[:height, :width])


def run(*arguments: str) -> tuple[str, float, float]:
    """What a command of `ncsr` prints, its seconds, and its peak memory in MiB."""
    with subprocess.Popen(
        [sys.executable, "-c", _TIMED, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(errors)
    return out, float(errors.splitlines()[-1]), usage.ru_maxrss / 1024


def compare(model: str, width: int, height: int, how: list[str]) -> str:
    """A line of what was planned and what came."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        mosaic(width, height).save(photo)
        out, trial, _ = run("plan", str(photo), "-m", model, *how)
        _, seconds, peak = run("upscale", str(photo), "-m", model, "-o", str(Path(folder) / "out"), *how)
    planned = _value(r"time +(\S+) (\w+)", out, _SECONDS)
    memory = _value(r"memory +(\S+) (\w+)", out, _MEBIBYTES)
    return (
        f"{width} x {height}: time {planned:.1f} s planned, {seconds:.1f} s taken ({planned / seconds - 1:+.0%}); "
        f"memory {memory:.0f} MiB planned, {peak:.0f} MiB taken ({memory / peak - 1:+.0%}); "
        f"the trial took {trial:.1f} s"
    )


def _value(pattern: str, text: str, units: dict[str, int]) -> float:
    match = re.search(pattern, text)
    assert match is not None, text
    return float(match[1]) * units[match[2]]


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x4-small")
    parser.add_argument("--sizes", nargs="+", default=["160x120", "400x300"])
    parser.add_argument("-n", default="2")
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--consistent", action="store_true")
    options = parser.parse_args()
    how = ["-n", options.n, "--tile", options.tile, *(["--consistent"] if options.consistent else [])]
    print(f"{machine()}; {options.model}, {options.n} samples, tiles {options.tile}", flush=True)
    for size in options.sizes:
        width, height = map(int, size.split("x"))
        print(compare(options.model, width, height, how), flush=True)


if __name__ == "__main__":
    main()
