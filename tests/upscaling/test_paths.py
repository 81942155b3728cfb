"""Which photographs a folder holds, here and behind a URL alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import fsspec
import pytest

from ncsr.errors import InputError
from ncsr.runtime.remote import Remote
from ncsr.upscaling.paths import check_results, plan_results


def test_the_same_photographs_here_and_behind_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "dir", {"target_protocol": "file", "path": str(tmp_path)})
    for name in ("b.PNG", "a.jpg", "note.txt", ".hidden.png", "in/c.tif", "in/.d.tif", ".dir/e.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"")
    for folder in (tmp_path / "photos", Remote("dir://photos")):
        assert _photos(folder) == [folder / "a.jpg", folder / "b.PNG"]
        inside = [str(photo.relative_to(folder)) for photo in _photos(folder, recursive=True)]
        assert inside == ["a.jpg", "b.PNG", "in/c.tif"]
    (tmp_path / "none").mkdir()
    for folder in (tmp_path / "none", Remote("dir://none")):
        assert "holds no photographs" in _planned(folder).problems[0]


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    """Of several, too: the others' photographs are planned."""
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.psd").write_bytes(b"")
    (tmp_path / "loop.png").symlink_to("loop.png")
    plan, problems, notes = plan_results(
        [tmp_path, tmp_path / ("n" * 300), tmp_path / "loop.png"], tmp_path / "out", consistent=False, recursive=False
    )
    assert plan[0] == (tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert re.search(r"cannot read .*nnn: File name too long", problems[0])
    assert notes == [f"{tmp_path}: left out images of kinds that are not read: 1 .psd"]
    check_results(plan, lambda target: [target])  # a link that leads to itself is refused when it is read


def _photos(folder: Path | Remote, recursive: bool = False) -> list[Path | Remote]:
    return [photo for photo, _ in _planned(folder, recursive).photos]


class _Plan(NamedTuple):
    photos: list[tuple[Path | Remote, Path | Remote]]
    problems: list[str]


def _planned(folder: Path | Remote, recursive: bool = False) -> _Plan:
    return _Plan(*plan_results([folder], Path("elsewhere"), consistent=False, recursive=recursive)[:2])


def test_folders_inside_are_spoken_of(tmp_path: Path) -> None:
    """But for that of the results, and where they are looked into."""
    for name in ("photos/a.png", "photos/in/b.png", "photos/out/a.png", "photos/.hidden/c.png", "outer/in/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    how = {"output": tmp_path / "photos" / "out", "consistent": False}
    _, _, notes = plan_results([tmp_path / "photos"], **how, recursive=False)
    assert notes == [f"{tmp_path / 'photos'}: left out the folder inside (-r looks into it)"]
    assert plan_results([tmp_path / "photos"], **how, recursive=True)[2] == []
    _, problems, _ = plan_results([tmp_path / "outer"], **how, recursive=False)
    assert problems[0].endswith("; left out the folder inside (-r looks into it)")


@pytest.mark.parametrize(("name", "meant"), [("a.pgn", "a.png"), ("a.JGP", "a.jpg"), ("a.tfi", "a.tif")])
def test_a_suffix_that_is_mistyped_makes_no_folder(tmp_path: Path, name: str, meant: str) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match=rf"{name}: did you mean {meant}\? For a folder, make it first"):
        plan_results([tmp_path / "b.png"], tmp_path / name, consistent=False, recursive=False)
    (tmp_path / name).mkdir()
    for output in (tmp_path / name, tmp_path / "out.v2", tmp_path / "results"):
        plan, _, _ = plan_results([tmp_path / "b.png"], output, consistent=False, recursive=False)
        assert plan == [(tmp_path / "b.png", output / "b.png")]
