"""Ctrl-C before a command began, in its imports, and after it ended; more than once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import ncsr
from tests.conftest import Command, process_environment, scene8

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


_HEED = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells let background jobs ignore it
)


def test_again_in_what_the_first_set_off() -> None:
    """Python could only print what is raised while it closes a generator, and would go on."""
    code = f"""{_HEED}
import ncsr.cli
from ncsr.__main__ import main

def work():
    try:
        yield
    finally:
        signal.raise_signal(signal.SIGINT)

def run():
    begun = work()
    next(begun)
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        del begun
        print("went on")

ncsr.cli.main = run
main()
"""
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ncsr: stopped by Ctrl-C\n")


def test_twice_at_once_while_enlarging(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    Image.fromarray(scene8(48, 64)).save(tmp_path / "photo.png")
    out, how = tmp_path / "out", ("-m", str(tiny_model_folder), "-n", "2", "--seed", "0", "--tile", "16")
    arguments = ["upscale", str(tmp_path / "photo.png"), *how, "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{_HEED}from ncsr.__main__ import main; main()", *arguments],
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(out.glob(".*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "ncsr: stopped by Ctrl-C"
    assert err.count("stopped by Ctrl-C") == 1
    assert "Traceback" not in err
    assert not list(out.glob("*.png"))  # those under construction have hidden names
    assert ncsr_(*arguments).code == ncsr_("upscale", tmp_path / "photo.png", *how, "-o", tmp_path / "alone").code == 0
    for path in out.glob("*.png"):
        assert path.read_bytes() == (tmp_path / "alone" / path.name).read_bytes()
    assert not list(out.glob(".*.scratch"))
