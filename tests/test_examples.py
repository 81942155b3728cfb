"""The notebooks and scripts of examples/ run."""

from __future__ import annotations

import io
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import process_environment

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All in one: each opens the bundled model, which takes most of the time."""
    client, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    testing = pytest.importorskip("fastapi.testclient")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    for photo in ("colosseum", "dog", "flowers"):  # two are enough
        Path(f"photos/{photo}.jpg").unlink()
    for name, value in process_environment().items():
        monkeypatch.setenv(name, value)
    for path in sorted(Path().glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), f"strip {path}"
        client.NotebookClient(notebook, timeout=300).execute()

    service = runpy.run_path("service.py")
    visitor = testing.TestClient(service["app"])
    answer = visitor.post("/upscale?seed=3", content=Path("cat.png").read_bytes())
    assert answer.headers["X-Seed"] == "3"
    assert Image.open(io.BytesIO(answer.content)).size == (448, 296)
    assert visitor.post("/upscale", content=b"no photograph").status_code == 400

    for script, *arguments in (
        ("training_loop.py", "photos", "model", "--steps", "2", "--batch", "2", "--crop", "32"),
        ("evaluate_div2k.py", "photos", "--model", "model", "--samples", "2"),
    ):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")
    printed = capsys.readouterr().out
    assert "step 2: " in printed
    assert "lpips: 0." in printed
