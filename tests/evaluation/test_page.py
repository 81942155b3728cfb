"""The page of a report, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.reports import save
from tests.conftest import Command


@pytest.mark.parametrize("width", [1300, 400])
def test_a_page_fits_its_window(
    ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, quick_measures: None, chromium: Any, width: int
) -> None:
    """Nothing is wider than the window, but in a small one a table, which moves by itself."""
    pytest.importorskip("torchmetrics")
    save(tmp_path / "a folder with a long name" / "a photograph of a long name, 0801.png", 64, 72, 0)
    temperatures = [value for t in (0.5, 0.6, 0.7, 0.8, 0.9) for value in ("-t", t)]
    command = ["evaluate", tiny_model_folder, *temperatures, "-n", 2, "--calibration"]
    result = ncsr_(*command, "--hr", tmp_path / "a folder with a long name", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto((tmp_path / "out" / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1300:
        moved = "[...document.querySelectorAll('.wide')].filter(table => table.scrollWidth > table.clientWidth).length"
        assert page.evaluate(moved) == 0
    text = page.locator("body").inner_text()
    for once in ("a folder with a long name: 1 photograph, x4", "Texture distance and grain are of the set"):
        assert text.count(once) == 1
    page.close()
