"""Commands in a process whose memory is limited (`ulimit -v`): one sentence, whatever finds none."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import run_process, scene8


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit, or do not heed it")
@pytest.mark.parametrize("mebibytes", [150, 600, 800])
def test_too_little_for_pytorch_or_for_the_smallest_tile(tmp_path: Path, mebibytes: int) -> None:
    import resource

    Image.fromarray(scene8(64, 64)).save(tmp_path / "photo.png")
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (2**20 * mebibytes, 2**20 * mebibytes))
    done = run_process("upscale", "photo.png", "-o", "out", "--device", "cpu", cwd=tmp_path, preexec_fn=limit)
    done.failed(r"not enough memory.*\d+ MiB are free under `ulimit -v`; raise it")
    assert not list(tmp_path.rglob("*_s0.png"))
