"""Fixtures of the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.reports import save


@pytest.fixture
def hr(tmp_path: Path) -> Path:
    for i, (height, width) in enumerate([(64, 72), (66, 65)]):
        save(tmp_path / "hr" / f"080{i + 1}.png", height, width, i)
    return tmp_path / "hr"
