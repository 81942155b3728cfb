"""Ctrl-C before a command began, in its imports, and after it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ncsr

_ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(ncsr.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], env=_ENVIRONMENT, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["ncsr.cli", "ncsr.cli.upscale", "torch"])
def test_while_modules_are_imported(module: str) -> None:
    code = f"""
import sys
from importlib.abc import MetaPathFinder

class Interruption(MetaPathFinder):
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interruption())
from ncsr.__main__ import main
main()
"""
    done = run(code, "info", "x4-small")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ncsr: stopped by Ctrl-C\n")


def test_after_the_command_has_ended() -> None:
    code = """
import atexit, os, signal
from ncsr.__main__ import main

atexit.register(os.kill, os.getpid(), signal.SIGINT)
main()
"""
    done = run(code, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
