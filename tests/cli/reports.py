"""What the tests of `ncsr evaluate`, `measure` and `reproduce` share: photographs, and reading reports."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ncsr
from ncsr.images.origin import Provenance
from tests.conftest import scene8

REPORT = ["index.html", "images.csv", "results.json", "table.md"]
_PICTURES = {".png", ".jpeg", ".jpg", ".webp", ".gif", ".tif"}


def save(path: Path, height: int, width: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene8(height, width, seed=seed)).save(path)
    return path


def read(path: Path) -> Any:
    return json.loads((path / "results.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def close(value: float | None, tolerance: float) -> Any:
    """Nothing is close to None but None."""
    return value if value is None else pytest.approx(value, rel=tolerance)


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row["figures"] for row in read(folder)["rows"]}


def origins_in(folder: Path) -> dict[str, Provenance]:
    """The origin of every picture in a folder and within its pages; none is without."""
    for page in folder.rglob("*.html"):
        for i, (kind, data) in enumerate(re.findall(r"data:image/(\w+);base64,([^\"]+)", page.read_text())):
            page.with_name(f"embedded-{i}.{kind}").write_bytes(base64.b64decode(data))
    pictures = [path for path in folder.rglob("*") if path.suffix in _PICTURES]
    told = {path.relative_to(folder).as_posix(): ncsr.provenance(path) for path in pictures}
    assert [name for name, origin in told.items() if origin is None] == []
    return {name: origin for name, origin in told.items() if origin is not None}
