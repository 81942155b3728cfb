"""`ncsr` itself: its help, its version, and how a run ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import ncsr
from tests.cli.reports import save
from tests.conftest import Command


def test_version(ncsr_: Command) -> None:
    result = ncsr_("--version")
    assert (result.code, result.out, result.err) == (0, f"{ncsr.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("upscale",),
        ("upscale", "a.png"),
        ("upscale", "a.png", "-o", "b", "-n", "x"),
        ("enlarge",),
        ("info", "--fast"),
    ],
)
def test_usage_errors(ncsr_: Command, arguments: Sequence[str]) -> None:
    result = ncsr_(*arguments)
    assert result.code == 2
    assert "Usage" in result.out + result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ["upscale", "train", "convert", "info", "plausible"]),
        (("upscale",), ["INPUT", "--output", "--model", "--scale", "--samples", "--temperature", "--seed", "--tile"]),
        (("upscale",), ["--device", "--precision", "--sheet", "--std", "--strip", "photo_s0.png", "invented"]),
        (("upscale",), ["--consistent", "--max-pixels", "available memory", "[default: auto]", "goes on where it was"]),
        (("upscale",), ["the model's", "a fresh one", "by scale, x4", "[default: 4]"]),
        (("train",), ["--data", "--output", "--resume", "--init", "--set", "KEY=VALUE"]),
        (
            ("convert",),
            ["REFERENCE.pth", "--output", "--noise-steps", "--stacked-blocks", "--trunk-skip", "as published"],
        ),
        (("info",), ["model"]),
    ],
)
def test_help(ncsr_: Command, monkeypatch: pytest.MonkeyPatch, command: Sequence[str], words: Sequence[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    result = ncsr_(*command, "--help")
    assert result.code == 0
    for word in words:
        assert word in result.out


def test_want_of_memory_is_a_sentence(ncsr_: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("cannot read a.png: there is not enough memory (Unable to allocate 9 GiB)")

    monkeypatch.setattr("ncsr.cli.app", fail)
    ncsr_("info").failed("^ncsr: cannot read a.png: there is not enough memory")


@pytest.mark.parametrize(
    ("words", "before"),
    [
        (("upscale", "", "-o", "out"), "upscale"),
        (("upscale", "a.png", "", "-o", "out"), "a.png"),
        (("upscale", "a.png", "-o", ""), "-o"),
        (("plan", ""), "plan"),
        (("prepare", "photos", "-o", ""), "-o"),
        (("train", "x4", "--data", "", "-o", "run"), "--data"),
        (("evaluate", "x4-small", "--hr", "", "-o", "report"), "--hr"),
        (("evaluate", "x4-small", "--hr=", "-o", "report"), "--hr"),
        (("measure", "--hr", "a", "--sr", "", "-s", "4", "-o", "report"), "--sr"),
        (("reproduce", "table1", "--data", "", "-m", "NCSR=x4-small", "-o", "report"), "--data"),
        (("info", ""), "info"),
        (("",), "ncsr"),
    ],
)
def test_empty_arguments_are_refused(ncsr_: Command, words: Sequence[str], before: str) -> None:
    ncsr_(*words).failed(f"^ncsr: the argument behind {before} is empty: give a name there, or leave it out$")


@pytest.mark.parametrize("command", ["upscale", "plan", "prepare"])
def test_names_move_no_cursor(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\x1b[2J\r.png").write_bytes(b"broken")
    save(tmp_path / "in" / "b.png", 16, 16)
    how = {
        "upscale": ["-m", tiny_model_folder, "-n", 1, "--seed", 0, "-o", tmp_path / "out"],
        "plan": ["-m", tiny_model_folder],
        "prepare": ["-o", tmp_path / "out.lmdb", "--smallest", 16],
    }
    result = ncsr_(command, tmp_path / "in", *how[command])
    assert result.code == 1
    assert "\x1b" not in result.out + result.err
    assert "a\\x1b[2J\\r.png" in result.err
