"""Which photographs a folder holds, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ncsr.errors import InputError
from ncsr.images.finding import find_photos, search_folder


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "tree" / "in").mkdir(parents=True)
    (tmp_path / "tree" / "in" / "a.png").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.png").write_bytes(b"")
    (tmp_path / "tree" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree" / "in" / "up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "itself.png").symlink_to("itself.png")
    found = search_folder(tmp_path / "tree", recursive=True)
    assert [path.relative_to(tmp_path / "tree").as_posix() for path in found.photos] == ["in/a.png", "linked/b.png"]
    assert found.problems == []


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "locked/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    scandir = os.scandir

    def refused(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = search_folder(tmp_path, recursive=True)
    assert (found.photos, len(found.problems)) == ([tmp_path / "a.png"], 1)
    with pytest.raises(InputError, match=r"^cannot read the folder .*locked: Permission denied$"):
        find_photos(tmp_path, recursive=True)
    with pytest.raises(InputError, match=r"holds no photographs .*: cannot read the folder .*locked"):
        search_folder(tmp_path / "locked")


def test_images_of_other_kinds_are_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.CR2", "c.cr2", "d.psd", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert search_folder(tmp_path).note == "images of kinds that are not read: 2 .cr2, 1 .psd"
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"holds no photographs .*: images of kinds that are not read: 2 .cr2, 1"):
        search_folder(tmp_path)


def test_files_without_suffix_count_by_their_content(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "photo", "JPEG")
    (tmp_path / "LICENSE").write_text("All rights reserved")
    (tmp_path / "empty").touch()
    (tmp_path / "b.jfif").touch()
    (tmp_path / "c.JPE").touch()
    assert [path.name for path in find_photos(tmp_path)] == ["b.jfif", "c.JPE", "photo"]
