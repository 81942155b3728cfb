"""What the tests of `ncsr evaluate`, `measure` and `reproduce` share: photographs, and reading reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import scene8

REPORT = ["index.html", "images.csv", "results.json", "table.md"]


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
