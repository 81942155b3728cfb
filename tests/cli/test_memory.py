"""Commands in a process whose memory is limited (`ulimit -v`): one sentence, whatever finds none."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Command, process_environment, run_process, scene8

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit, or do not heed it")


@pytest.mark.parametrize("mebibytes", [150, 600, 800])
def test_too_little_for_pytorch_or_for_the_smallest_tile(tmp_path: Path, mebibytes: int) -> None:
    import resource

    Image.fromarray(scene8(64, 64)).save(tmp_path / "photo.png")
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (2**20 * mebibytes, 2**20 * mebibytes))
    done = run_process("upscale", "photo.png", "-o", "out", "--device", "cpu", cwd=tmp_path, preexec_fn=limit)
    done.failed(r"not enough memory.*\d+ MiB are free under `ulimit -v`; raise it")
    assert not list(tmp_path.rglob("*_s0.png"))


_LESS_THAN_PLANNED = """
import resource, sys
from pathlib import Path
from ncsr.__main__ import main
from ncsr.runtime.memory import prepare_for_limits

_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (2**36, hard))
prepare_for_limits()  # as the command does before it imports what follows
from ncsr.upscaling import pipeline

def choose_side(*arguments, **options):
    side = planned(*arguments, **options)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 150 * 2**20, hard))
    return side

planned, pipeline.choose_side = pipeline.choose_side, choose_side
main()
"""


def test_memory_that_others_take_after_the_plan(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    Image.fromarray(scene8(256, 256)).save(tmp_path / "photo.png")
    how = ("upscale", tmp_path / "photo.png", "-m", tiny_model_folder, "-n", 1, "--seed", 3, "--device", "cpu")
    done = subprocess.run(
        [sys.executable, "-c", _LESS_THAN_PLANNED, *map(str, (*how, "-o", tmp_path / "out"))],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sides = [int(side) for side in re.findall(r"memory ran out: going on with tiles of (\d+) LR pixels", done.stderr)]
    assert sides == [128, 64, 32, 16][: len(sides)] != []
    assert "Traceback" not in done.stderr
    assert ncsr_(*how, "-o", tmp_path / "whole").code == 0
    (made,), (whole,) = (
        [np.asarray(Image.open(path), int) for path in (tmp_path / name).glob("*.png")] for name in ("out", "whole")
    )
    assert abs(made - whole).max() <= 1  # docs/any-size.md: a small part of a grey level, rounded
