"""The notebooks and scripts of examples/ run."""

from __future__ import annotations

import copy
import io
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import ncsr
from ncsr.ops.resize import imresize
from tests.conftest import TINY, process_environment, scene8

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


@torch.no_grad()
def test_a_flow_is_fitted_to_another_encoder(
    tiny_model: ncsr.NCSR, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of whose features are the doubles of the first one's."""
    other = copy.deepcopy(tiny_model)
    other.encoder.first.weight *= 2
    for name, value in other.encoder.named_parameters():
        if name.endswith("bias"):
            value *= 2
    other.save(tmp_path / "other")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"inherit": "x4", "model": TINY.model_dump(mode="json")}))
    Image.fromarray(scene8(96, 80)).save(tmp_path / "photo.png")
    models = [str(tiny_model_folder), str(tmp_path / "other"), str(tmp_path), str(tmp_path / "fitted")]
    settings = ["--recipe", str(tmp_path / "recipe.yaml"), "--steps", "6", "--batch", "4", "--crop", "64"]
    monkeypatch.setattr(sys, "argv", ["refit_flow.py", *models, *settings])
    runpy.run_path(str(EXAMPLES / "refit_flow.py"), run_name="__main__")
    hr = torch.from_numpy(scene8(64, 64)).permute(2, 0, 1)[None]
    images = hr / 255, imresize(hr, 1 / 4) / 255
    expected, unfitted, fitted = (m(*images).item() for m in (tiny_model, other, ncsr.load(tmp_path / "fitted")))
    assert abs(unfitted - expected) > 0.1
    assert fitted == pytest.approx(expected, abs=0.01)
