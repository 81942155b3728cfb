"""Files and settings from anyone: one sentence, before memory or time is spent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ncsr.errors import InputError
from tests.conftest import process_environment
from tests.hostile import CASES


@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch, about sparse tensors and old pickles
@pytest.mark.parametrize("name", CASES)
def test_one_sentence(name: str, tmp_path: Path) -> None:
    read, reason = CASES[name]
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path)
    text = str(caught.value).replace(str(tmp_path), "")
    assert text.isprintable()
    assert len(text) <= 500


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads a process's size there")
def test_within_a_gibibyte(tmp_path: Path) -> None:
    """All of them in a process with a limit: what would have needed more ends as a MemoryError or RuntimeError."""
    root = Path(__file__).parents[1]
    code = "import sys, pathlib, tests.hostile; print(tests.hostile.run_all(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=root,
        env=process_environment(),
        timeout=300,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
