"""Locations: paths and URLs, what is listed behind them, and the sentence for whatever a driver raises."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ncsr.errors import InputError
from ncsr.runtime.remote import Remote, parse_location


def test_locations() -> None:
    assert parse_location("photos/a.png") == Path("photos/a.png")
    assert parse_location("file:///photos/a.png") == Path("/photos/a.png")
    folder, file = parse_location("dir://bucket/deep/"), Remote("dir://bucket/deep/a.b.png")
    assert isinstance(folder, Remote)
    assert (str(folder), folder.parents[0]) == ("dir://bucket/deep", Remote("dir://bucket"))
    assert pickle.loads(pickle.dumps(folder)) == folder  # it is sent to workers
    assert (file.name, file.stem, file.suffix, file.parent) == ("a.b.png", "a.b", ".png", folder)
    assert file.with_suffix(".tif") == folder / "a.b.tif"
    assert str(file.relative_to(folder)) == "a.b.png"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """A folder behind a URL, with three files."""
    monkeypatch.setitem(fsspec.config.conf, "dir", {"target_protocol": "file", "path": str(tmp_path)})
    for name in ("b.txt", "a.png", "deep/c.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"12345")
    return Remote("dir://in")


def test_files_are_listed_sorted(folder: Remote) -> None:
    assert list(map(str, folder.files())) == ["dir://in/a.png", "dir://in/b.txt"]
    assert list(map(str, folder.files(recursive=True))) == ["dir://in/a.png", "dir://in/b.txt", "dir://in/deep/c.png"]


def test_files_come_and_go(folder: Remote, tmp_path: Path) -> None:
    file = folder / "a.png"
    before = file.size_and_version()
    assert before is not None
    assert before[0] == 5
    assert (folder.is_dir(), file.is_dir(), folder.size_and_version()) == (True, False, None)
    (tmp_path / "new").write_bytes(b"123")
    file.store(tmp_path / "new")
    assert file.size_and_version() not in (None, before)
    file.fetch(tmp_path / "back")
    assert (tmp_path / "back").read_text() == file.read_text() == "123"
    file.unlink()
    assert file.size_and_version() is None
    file.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"^cannot read dir://in/a\.png: "):
        file.read_text()


@pytest.mark.parametrize("error", [MemoryError("none left"), KeyboardInterrupt()])
def test_what_is_no_matter_of_the_file_passes(
    folder: Remote, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(type(error)):
        folder.files()
