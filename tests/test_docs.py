"""The examples in the documents run as they stand."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ncsr
from tests.conftest import Command, scene8
from tests.models import lively_model, tiny_config

DOCS = Path(__file__).parent.parent / "docs"


def test_a_loop_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "training.md").read_text(encoding="utf-8"), re.DOTALL)
    generator, config = torch.Generator().manual_seed(0), tiny_config()
    crops = [torch.randint(256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8) for _ in range(3)]
    names = {"config": config, "crops": crops}
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(0)
        exec(example, names)
    model = ncsr.load("my-model", "cpu")
    assert model.config == config
    hr = crops[0].float() / 255
    bits = model(hr, ncsr.ops.resize.imresize(crops[0], 0.25).float() / 255)
    assert bits.mean() < 4  # of uniform noise in [0, 1] the least is 0


def test_where_an_image_comes_from(ncsr_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene8(8, 8)).save("photo.png")
    ncsr_("upscale", "photo.png", "-o", "out", "-n", 2)
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "provenance.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(example, {})
    again, before = ncsr.provenance("out/again.jpg"), ncsr.provenance("out/photo_s1.png")
    assert again is not None
    assert before is not None
    assert (again.photograph, again.model, again.model_hash, before.samples) == (
        before.photograph,
        before.model,
        before.model_hash,
        [1],
    )


def test_latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small model and a small photograph, all examples of the page, one after the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        ncsr, "load", lambda name: lively_model(bound="atan", dtype=torch.float32).requires_grad_(False)
    )
    (tmp_path / "examples").mkdir()
    photo = np.random.default_rng(0).integers(256, size=(36, 65, 3), dtype=np.uint8)
    Image.fromarray(photo).save("examples/cat.png")
    text = (DOCS / "latents.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(example, names)
    for name, shape in re.findall(r"^(\w+) = .*# \(([^)]*)\)", text, re.MULTILINE):
        sides = {"h": 36, "w": 65, "4 h": 144, "4 w": 260}
        assert names[name].shape == tuple(sides.get(side) or int(side) for side in shape.split(", ")), name
    torch.testing.assert_close(list(names["same"]), list(names["latents"]), rtol=0, atol=0)
    torch.testing.assert_close(names["map"].sum((-2, -1)), names["total"], rtol=1e-5, atol=0)
    blended = names["blend"](names["space"].latents(3, seed=7), names["one"], names["where"])
    torch.testing.assert_close(names["version"], names["space"].render(blended), rtol=0, atol=1e-4)
    assert {path.name for path in tmp_path.iterdir()} == {"examples", "four.png", "four.safetensors", "deviation.png"}


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene8(36, 48)).save("photo.png")
    monkeypatch.setattr("ncsr.pretrained.load.load", lambda *_: lively_model(bound="atan", dtype=torch.float32))
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", (DOCS / "commands.md").read_text(encoding="utf-8"), re.DOTALL)
    for example in examples:
        exec(example, names)
    assert names["picture"].size == (160, 120)
    assert len(examples) == 2
    for picture, same in zip(names["pictures"], names["again"], strict=True):
        assert picture.tobytes() == same.tobytes()
