"""Journals: what a stopped run left counts, if it is the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncsr import InputError
from ncsr.upscaling.resume_log import ResumeLog, read_settings

_SETTINGS = {"seed": 3, "shape": [1, 2, 3, 4]}


def _written(path: Path) -> ResumeLog:
    journal = ResumeLog(path, _SETTINGS)
    assert not journal.resumed
    journal.add_tile(0, (0, 0, 16, 16), [])
    journal.add_tile(0, (0, 16, 16, 32), [1, 2])
    journal.add_tile(1, (0, 0, 16, 16), [2])
    journal.add_finished(0, [61.5, float("inf")])
    return journal


def test_a_journal_remembers(tmp_path: Path) -> None:
    written = _written(tmp_path / "journal")
    for journal in (written, ResumeLog(tmp_path / "journal", _SETTINGS)):
        assert journal.has_tile(0, (0, 16, 16, 32))
        assert journal.has_tile(0, (8, 16, 16, 24))  # a part of it
        assert not journal.has_tile(0, (8, 8, 16, 24))
        assert not journal.has_tile(1, (0, 16, 16, 32))
        assert [journal.bad(attempt) for attempt in range(3)] == [[1, 2], [2], []]
        assert journal.finished(0) == [61.5, float("inf")]
        assert journal.finished(1) is None
    assert journal.resumed
    assert read_settings(tmp_path / "journal") == _SETTINGS
    assert read_settings(tmp_path / "none") is None


def test_other_settings_start_anew(tmp_path: Path) -> None:
    _written(tmp_path / "journal")
    journal = ResumeLog(tmp_path / "journal", {**_SETTINGS, "seed": 4})
    assert not journal.resumed
    assert not journal.has_tile(0, (0, 0, 16, 16))
    assert read_settings(tmp_path / "journal") == {**_SETTINGS, "seed": 4}


@pytest.mark.parametrize("cut", [1, 5])
def test_a_line_cut_short_does_not_count(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal"
    _written(path)
    path.write_text(path.read_text()[:-cut])
    journal = ResumeLog(path, _SETTINGS)
    assert journal.resumed
    assert journal.finished(0) is None
    assert journal.bad(1) == [2]
    journal.add_finished(5, [1.0, 2.0])
    assert ResumeLog(path, _SETTINGS).finished(5) == [1.0, 2.0]


def test_without_a_file_and_where_none_can_be(tmp_path: Path) -> None:
    journal = ResumeLog()
    journal.add_tile(0, (0, 0, 4, 4), [])
    assert journal.has_tile(0, (0, 0, 4, 4))
    assert not journal.resumed
    with pytest.raises(InputError, match="cannot write"):
        ResumeLog(tmp_path / "missing" / "journal", _SETTINGS)
