"""The campaign of `benchmarks.campaign`: two trials of each kind that is quick, the whole of it as a slow test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import process_environment

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "size",
    [
        ["--index", "0", "1", "--only", "images", "bombs", "models", "settings", "names"],
        pytest.param([], marks=pytest.mark.slow),
    ],
    ids=["slice", "whole"],
)
def test_no_faults(size: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.campaign", *size]
    done = subprocess.run(command, cwd=ROOT, env=process_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.findall(r"^(\w+) +tried +(\d+)", done.stdout, re.MULTILINE)
    assert tried
    assert done.stdout.endswith("faults: 0\n")
