"""Resume logs: what a stopped run left counts, if it is the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncsr import InputError
from ncsr.upscaling.resume_log import ResumeLog, resumable_seed, scratch_folder

_SETTINGS = {"seed": 3, "shape": [1, 2, 3, 4]}


def _written(path: Path) -> ResumeLog:
    log = ResumeLog(path, _SETTINGS)
    assert not log.resumed
    log.add_tile(0, (0, 0, 16, 16), [])
    log.add_tile(0, (0, 16, 16, 32), [1, 2])
    log.add_tile(1, (0, 0, 16, 16), [2])
    return log


def test_a_log_remembers(tmp_path: Path) -> None:
    written = _written(tmp_path)
    for log in (written, ResumeLog(tmp_path, _SETTINGS)):
        assert log.has_tile(0, (0, 16, 16, 32))
        assert log.has_tile(0, (8, 16, 16, 24))  # a part of it
        assert not log.has_tile(0, (8, 8, 16, 24))
        assert not log.has_tile(1, (0, 16, 16, 32))
        assert [log.bad(attempt) for attempt in range(3)] == [[1, 2], [2], []]
    assert log.resumed


def test_other_settings_start_anew(tmp_path: Path) -> None:
    _written(tmp_path)
    log = ResumeLog(tmp_path, {**_SETTINGS, "seed": 4})
    assert not log.resumed
    assert not log.has_tile(0, (0, 0, 16, 16))


def test_the_seed_to_go_on_with(tmp_path: Path) -> None:
    target = tmp_path / "photo.png"
    assert resumable_seed(target, _SETTINGS) is None
    scratch_folder(target).mkdir()
    _written(scratch_folder(target))
    assert resumable_seed(target, {**_SETTINGS, "seed": 7}) == 3
    assert resumable_seed(target, {**_SETTINGS, "temperature": 0.1}) is None  # which starts anew
    (scratch_folder(target) / "journal.jsonl").write_text("[1]\n")
    assert resumable_seed(target, _SETTINGS) is None


@pytest.mark.parametrize("cut", [1, 5])
def test_a_line_cut_short_does_not_count(tmp_path: Path, cut: int) -> None:
    _written(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text()[:-cut])
    log = ResumeLog(tmp_path, _SETTINGS)
    assert log.resumed
    assert log.bad(0) == [1, 2]
    assert not log.has_tile(1, (0, 0, 16, 16))
    log.add_tile(2, (0, 0, 4, 4), [5])
    assert ResumeLog(tmp_path, _SETTINGS).bad(2) == [5]


@pytest.mark.parametrize(
    "line", ["[]", "{}", '"tile"', '{"attempt": 0, "tile": [0, 0], "bad": []}', "[" * 10**5, "1" * 5000, "\\"]
)
def test_other_json_ends_the_log(tmp_path: Path, line: str) -> None:
    _written(tmp_path)
    path = tmp_path / "journal.jsonl"
    first, second, third, _ = path.read_text().splitlines()
    path.write_text("\n".join([first, second, line, third, ""]))
    log = ResumeLog(tmp_path, _SETTINGS)
    assert log.resumed
    assert log.has_tile(0, (0, 0, 16, 16))
    assert not log.has_tile(0, (0, 16, 16, 32))
    path.write_text(line + "\n")
    assert not ResumeLog(tmp_path, _SETTINGS).resumed
    scratch_folder(tmp_path / "a").mkdir()
    (scratch_folder(tmp_path / "a") / "journal.jsonl").write_text(line + "\n")
    assert resumable_seed(tmp_path / "a", {}) is None


def test_without_a_file_and_where_none_can_be(tmp_path: Path) -> None:
    log = ResumeLog()
    log.add_tile(0, (0, 0, 4, 4), [])
    assert log.has_tile(0, (0, 0, 4, 4))
    assert not log.resumed
    with pytest.raises(InputError, match="cannot write"):
        ResumeLog(tmp_path / "missing", _SETTINGS)


def test_a_line_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """As on a disk that is full by now; here a folder is in the way."""
    log = ResumeLog(tmp_path, _SETTINGS)
    (tmp_path / "journal.jsonl").unlink()
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*journal\.jsonl: .*; make room there, then start again"):
        log.add_tile(0, (0, 0, 4, 4), [])
