"""`ncsr` itself: its help, its version, and how a run ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import ncsr
from tests.cli.reports import save
from tests.conftest import Command, scene8


def test_version(ncsr_: Command) -> None:
    result = ncsr_("--version")
    assert (result.code, result.out, result.err) == (0, f"{ncsr.__version__}\n", "")


def test_no_arguments_show_the_help(ncsr_: Command) -> None:
    result = ncsr_()
    assert (result.code, result.err) == (2, "")
    assert "upscale" in result.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("upscale", "upscale: INPUT is missing; see `ncsr upscale --help`"),
        ("upscale a.png", "upscale: -o / --output is missing; see `ncsr upscale --help`"),
        ("train", "RECIPE is missing; see `ncsr train --help`; with --resume and -o RUN it is that of the run"),
        ("train --resume -o nowhere", "nowhere holds no recipe.yaml, which a run has once its last stage has begun"),
        ("upscale a.png -o b -n x", "upscale: -n / --samples: it should be a valid integer, got 'x'; see"),
        ("upscale a.png -o", "upscale: option '-o' requires an argument; see `ncsr upscale --help`"),
        ("upscale a.png -o b --sheet=3", "upscale: option '--sheet' does not take a value; see"),
        (
            "evaluate x4 --hr a -o b --tile 3",
            "evaluate: --tile: it should be greater than or equal to 16, got '3'; see",
        ),
        ("prepare a --check no", "prepare: --check: 'no' is not one of 'div2k', "),
        ("upscal", "there is no command 'upscal': did you mean upscale? see `ncsr --help`"),
        ("zzz", "there is no command 'zzz'; see `ncsr --help`"),
        (
            "upscale a.png --scal 4",
            "upscale: there is no option --scal: did you mean --scale? see `ncsr upscale --help`",
        ),
        ("info --zzz", "info: there is no option --zzz; see `ncsr info --help`"),
        ("info a b", "info: got unexpected extra argument(s) (b); see `ncsr info --help`"),
        ("--verison", "there is no option --verison: did you mean --version? see `ncsr --help`"),
    ],
)
def test_the_parser_says_one_sentence(ncsr_: Command, arguments: str, sentence: str) -> None:
    ncsr_(*arguments.split()).failed(f"^ncsr: {re.escape(sentence)}")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ncsr up", "upscale"),
        ("ncsr upscale -m x", "x4 x4-small x8-small"),
        ("ncsr upscale --precision b", "bfloat16"),
        ("ncsr upscale --format j", "jpg jxl"),
        ("ncsr evaluate x8", "x8-small"),
        ("ncsr train rrdb-x8", "rrdb-x8 rrdb-x8-small"),
        ("ncsr reproduce figure", "figure1 figure2 figure6 figure7"),
        ("ncsr prepare --check div2k-", "div2k-train div2k-valid"),
        ("ncsr upscale my-phot", ""),  # bash then completes files
    ],
)
def test_a_shell_completes(ncsr_: Command, monkeypatch: pytest.MonkeyPatch, typed: str, offered: str) -> None:
    for key, value in (("_NCSR_COMPLETE", "complete_bash"), ("COMP_WORDS", typed), ("COMP_CWORD", typed.count(" "))):
        monkeypatch.setenv(key, str(value))
    result = ncsr_()
    assert (result.code, result.out.split(), result.err) == (0, offered.split(), "")


def test_the_script_for_a_shell_is_shown(ncsr_: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "zsh")
    result = ncsr_("--show-completion")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("#compdef ncsr")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ["upscale", "train", "convert", "info", "plausible"]),
        (("upscale",), ["INPUT", "--output", "--model", "--scale", "--samples", "--temperature", "--seed", "--tile"]),
        (("upscale",), ["--device", "--precision", "--sheet", "--std", "--strip", "photo_s0.png", "invented"]),
        (("upscale",), ["--consistent", "--max-pixels", "available memory", "[default: auto]", "continues there"]),
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


@pytest.mark.parametrize(
    "command",
    [
        "upscale {} -o out",
        "upscale photo.png -o {}",
        "info {}",
        "measure --hr {} --sr . -s 4 -o out",
        "measure --hr . --sr . -s 4 -o {}",
        "prepare {} -o out.lmdb --smallest 16",
        "train x4-small --data {} -o out",
        "evaluate x4-small --hr {} -o out",
        "convert {} -o out",
    ],
)
def test_names_too_long_for_the_system_are_one_sentence(
    ncsr_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene8(8, 8)).save("photo.png")
    ncsr_(*command.format(f"{'long' * 70}.png").split()).failed("long.png.*(too long|no such file|no such folder)")
