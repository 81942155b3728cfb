"""The records of an evaluation that was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncsr.errors import InputError
from ncsr.evaluation.records import Records


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff"])
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    records = object.__new__(Records)
    records.folder = tmp_path
    (tmp_path / "photo.png.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=r"photo\.png\.json is damaged .*: delete .* to begin anew"):
        records.read("photo.png")
