"""Which photographs a folder holds, here and behind a URL alike."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from ncsr.errors import InputError
from ncsr.runtime.remote import Remote
from ncsr.upscaling.paths import photos_in


def test_the_same_photographs_here_and_behind_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "dir", {"target_protocol": "file", "path": str(tmp_path)})
    for name in ("b.PNG", "a.jpg", "note.txt", ".hidden.png", "in/c.tif", "in/.d.tif", ".dir/e.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"")
    for folder in (tmp_path / "photos", Remote("dir://photos")):
        assert photos_in(folder) == [folder / "a.jpg", folder / "b.PNG"]
        inside = [str(photo.relative_to(folder)) for photo in photos_in(folder, recursive=True)]
        assert inside == ["a.jpg", "b.PNG", "in/c.tif"]
    (tmp_path / "none").mkdir()
    for folder in (tmp_path / "none", Remote("dir://none")):
        with pytest.raises(InputError, match="holds no photographs"):
            photos_in(folder)
