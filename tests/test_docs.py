"""The examples in the documents run as they stand."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

import ncsr
from tests.conftest import Command, scene8
from tests.models import tiny_config

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
    assert (again.photograph, again.model, before.samples) == (before.photograph, "x4-small", [1])
