"""Standard output and standard error that cannot be written, are closed, or of an encoding that lacks a letter."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from tests.cli.reports import save
from tests.conftest import Command, process_environment

_FULL = Path("/dev/full")
_NO_ROOM = "^ncsr: cannot write to standard output: No space left on device$"
needs_full = pytest.mark.skipif(not _FULL.exists(), reason="needs /dev/full")


def closed_pipe() -> TextIO:
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w")


@pytest.fixture
def full() -> Iterator[TextIO]:
    stream = _FULL.open("w")
    yield stream
    with suppress(OSError):  # of what was not written
        stream.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "ä.png", 8, 8)


@needs_full
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["upscale", "--help"], [], ["train", "list"]])
def test_full(ncsr_: Command, monkeypatch: pytest.MonkeyPatch, full: TextIO, words: list[str]) -> None:
    monkeypatch.setattr("sys.stdout", full)
    ncsr_(*words).failed(_NO_ROOM)


@needs_full
@pytest.mark.parametrize("command", ["upscale", "plan", "info"])
def test_full_in_the_midst(
    ncsr_: Command,
    monkeypatch: pytest.MonkeyPatch,
    full: TextIO,
    tiny_model_folder: Path,
    photo: Path,
    tmp_path: Path,
    command: str,
) -> None:
    arguments = {
        "upscale": [photo, "-o", tmp_path / "out", "-n", 1, "--seed", 0, "-m", tiny_model_folder],
        "plan": [photo, "-m", tiny_model_folder],
        "info": [tiny_model_folder],
    }
    monkeypatch.setattr("sys.stdout", full)
    ncsr_(command, *arguments[command]).failed(_NO_ROOM)
    if command == "upscale":
        assert os.listdir(tmp_path / "out") == ["ä.png"]


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["train", "list"]])
def test_closed_pipe_is_quiet(ncsr_: Command, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr("sys.stdout", closed_pipe())
    result = ncsr_(*words)
    assert (result.code, result.err) == (1, "")


@needs_full
def test_the_end_of_the_process() -> None:
    environment = process_environment()
    environment.pop("PYTHONUNBUFFERED", None)  # what is printed is written at the end
    command = [sys.executable, "-m", "ncsr", "--version"]
    with _FULL.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "ncsr: cannot write to standard output: No space left on device\n")
    with closed_pipe() as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_encoding_without_the_letters(
    ncsr_: Command, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path, photo: Path, tmp_path: Path
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding="ascii"))
    result = ncsr_("upscale", photo, "-o", tmp_path / "out", "-n", 1, "--seed", 0, "-m", tiny_model_folder)
    assert (result.code, result.err) == (0, "")
    assert content.getvalue().decode() == f"{tmp_path / 'out'}/\\xe4.png\n"


@pytest.mark.parametrize("closed", [True, pytest.param(False, marks=needs_full)])
def test_without_standard_error_all_is_done(
    ncsr_: Command,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tiny_model_folder: Path,
    photo: Path,
    tmp_path: Path,
    closed: bool,
) -> None:
    monkeypatch.setattr("sys.stderr", None if closed else request.getfixturevalue("full"))
    arguments = ["-o", tmp_path / "out", "-n", 1, "-m", tiny_model_folder]
    result = ncsr_("upscale", tmp_path / "none.png", photo, *arguments)
    assert (result.code, result.paths) == (1, [tmp_path / "out/ä.png"])


def test_without_standard_output_all_is_done(
    ncsr_: Command, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path, photo: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    result = ncsr_("upscale", photo, "-o", tmp_path / "out", "-n", 1, "--seed", 0, "-m", tiny_model_folder)
    assert (result.code, result.err) == (0, "")
    assert (tmp_path / "out/ä.png").is_file()
