"""The progress bar: what it shows on a terminal, and that nothing but printed lines goes anywhere else."""

from __future__ import annotations

import re

import pytest
from rich.progress import MofNCompleteColumn

from ncsr.runtime.progress import ProgressBar

Captured = pytest.CaptureFixture[str]


def test_without_a_terminal_only_lines_are_printed(capsys: Captured) -> None:
    with ProgressBar(2) as bar:
        bar.update("photo", 0)
        bar.print("a.png", "b.png")
        bar.advance()
        bar.print("a warning", error=True)
    assert not bar.shown
    assert tuple(capsys.readouterr()) == ("a.png\nb.png\n", "a warning\n")


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressBar(4, MofNCompleteColumn()) as bar:
        bar.update("[photo] x", 3)
        bar.print("a.png")
    out, err = capsys.readouterr()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)
    assert out == "a.png\n"
    assert "3/4 0:00:00 left: -:--:-- [photo] x" in plain  # nothing was done in this run


def test_parts_that_an_earlier_run_did_took_no_time(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressBar(2) as bar:
        bar.update_part("a.png", 0, 0, 0)
        bar.update_part("a.png", 0, 0, 1)
        bar.update_part("a.png", 0, 1, 1)
        bar.update_part("b.png", 1, 0, 0)
        bar.update_part("b.png", 1, 4, 8)
        bar.warn("a warning")
    err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert " 75 % 0:00:00 left: -:--:-- b.png, part 4 of 8" in err
    assert "ncsr: a warning\n" in err


def test_hidden(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressBar(4, shown=False) as bar:
        bar.update("photo", 3)
    assert tuple(capsys.readouterr()) == ("", "")


def test_in_per_cent_and_restarted(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressBar(4) as bar:
        bar.update("first", 0)
        bar.update("second", 1)
        bar.update("third", 2, restart=True)
    assert " 50 % 0:00:00 left: -:--:-- third" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
