"""Plans come true: the memory of a real run, and what a plan is made of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ncsr
import ncsr.runtime.memory
from ncsr.images import photo_from_array, source_of
from ncsr.runtime.memory import resident
from ncsr.upscaling.estimate import estimate
from ncsr.upscaling.tile_size import tile_bytes
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import TINY, scene8

_MEASURED = """
import re, sys
from ncsr.cli import main
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the peak on Linux alone")
@pytest.mark.parametrize(
    ("height", "width", "how", "most"),
    [
        (48, 64, ["-n", "2"], 1.4),
        pytest.param(100, 120, ["-n", "1", "--tile", "72"], 1.6, marks=pytest.mark.slow),
    ],
)
def test_memory_is_as_planned(tmp_path: Path, height: int, width: int, how: list[str], most: float) -> None:
    """From 10 % below to 40 % above the peak of a process that enlarges with the bundled model, PyTorch included.

    What several tiles leave scattered in memory is planned as of many large ones: of few small ones it is less.
    """
    Image.fromarray(scene8(height, width)).save(tmp_path / "photo.png")
    environment = os.environ | {"PYTHONPATH": str(Path(ncsr.__file__).parents[1]), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _MEASURED, *arguments, "photo.png", *how, "--precision", "float32"]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)

    planned = re.search(r"memory +([\d.]+) (MiB|GiB)", run("plan").stdout)
    assert planned
    mebibytes = float(planned[1]) * {"MiB": 1, "GiB": 1024}[planned[2]]
    peak = int(run("upscale", "-o", "out").stderr.splitlines()[-1]) / 1024
    assert 0.9 * peak < mebibytes < most * peak


def test_too_small_a_photograph(tiny_model: ncsr.NCSR) -> None:
    with pytest.raises(ncsr.InputError, match="20 x 3 pixels: the smallest that can be enlarged is 4 x 4"):
        estimate(source_of(photo_from_array(scene8(3, 20))), tiny_model, SampleRequest(1, 0.8, 0), ".png")


def test_parts_of_a_plan(tiny_model: ncsr.NCSR) -> None:
    source = source_of(photo_from_array(scene8(40, 200)))
    whole = estimate(source, tiny_model, SampleRequest(3, 0.8, 0), ".png")
    assert (whole.tiles, whole.side, whole.scratch) == (1, 200, 0)
    assert whole.seconds > 0
    assert 0 < whole.memory - resident() < tile_bytes(TINY, 40 * 200, False) + 2**27
    tiled = estimate(source, tiny_model, SampleRequest(3, 0.8, 0, 16), ".png")
    assert (tiled.tiles, tiled.side, tiled.scratch) == (3 * 13, 16, 3 * 160 * 800 * 3)
    consistent = estimate(source, tiny_model, SampleRequest(3, 0.8, 0, 16, consistent=True), ".png")
    assert consistent.scratch == 3 * 160 * 800 * 3 * 2
    deep = source_of(photo_from_array(scene8(40, 200, 4).astype(np.uint16) * 257))
    assert estimate(deep, tiny_model, SampleRequest(1, 0.8, 0, 16), ".tif").scratch == 160 * 800 * 4 * 2
    assert estimate(deep, tiny_model, SampleRequest(1, 0.8, 0, 16), ".webp").scratch == 160 * 800 * 4  # of 8 bits


def test_encoders_take_memory(tiny_model: ncsr.NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.upscaling.estimate.tiles_bytes", lambda *_: 0)
    monkeypatch.setattr("ncsr.upscaling.estimate.resident", lambda: 0)
    source = source_of(photo_from_array(np.zeros((40, 50, 3), np.uint8)))
    request = SampleRequest(1, 0.0, 0, None, False)
    png, avif = (estimate(source, tiny_model, request, suffix).memory for suffix in (".png", ".avif"))
    assert avif - png == 45 * 16 * 40 * 50
