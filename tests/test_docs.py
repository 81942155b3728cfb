"""The commands and the Python of the documents run as they stand (tests/blocks.py says which)."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

import ncsr
from ncsr.cli import app
from ncsr.cli.options import with_address
from ncsr.pretrained import load
from tests.blocks import PAGES, ROOT, blocks_of, commands_of, run_page
from tests.conftest import Command, scene8
from tests.models import lively_model, tiny_config

DATA = {"photo.png": (24, 20), "photos/a.png": (12, 16), "photos/in/b.png": (12, 16), "scan.tif": (40, 48)}
HR = {f"{folder}/{name}.png": (64, 64) for folder in ("Set14", "BSD100", "DIV2K_valid_HR") for name in ("0801", "0802")}
MADE = {f"{folder}/{name}.png": (64, 64) for folder in ("theirs", "ours") for name in ("0801", "0802")}
RUN = [page for page in PAGES if any(block.run and block.language in ("sh", "python") for block in blocks_of(page))]
NAMED = ["docs/commands.md", "docs/latents.md", "docs/provenance.md", "docs/training.md"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_measures: None) -> Path:
    """A folder with small photographs of the names that pages use; the bundled models are tiny ones."""
    monkeypatch.chdir(tmp_path)
    for i, (name, (height, width)) in enumerate({**DATA, **HR, **MADE}.items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene8(height, width, seed=i)).save(path)
    for name in ("cat.png", *(f"photos/{p.name}" for p in (ROOT / "examples" / "photos").glob("*.jpg"))):
        (tmp_path / "examples" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(256, size=(36, 65, 3) if name == "cat.png" else (64, 64, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "examples" / name)
    bundled = load.BUNDLED
    monkeypatch.setattr(load, "BUNDLED", tmp_path / ".weights")
    for name, scale in (("x4", 4), ("x4-small", 4), ("x8-small", 8)):
        lively_model(scale, bound="atan", dtype=torch.float32).save(load.BUNDLED / name)
        shutil.copy(bundled / name / "card.json", load.BUNDLED / name)
    return tmp_path


def stand_ins(page: str) -> dict[str, Any]:
    """What the examples of a page take as given."""
    photo = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    small = torch.nn.functional.avg_pool2d(photo, 4)
    if page == "docs/measures.md":
        samples = photo[None] * torch.tensor([0.9, 0.8]).view(2, 1, 1, 1, 1)
        return {"hr": photo[0], "samples": samples[:, 0], "photographs": [(photo, small)], "model": ncsr.load("x4")}
    return {}


@pytest.mark.parametrize("page", [page for page in RUN if page not in NAMED])
def test_pages_run(page: str, ncsr_: Command, here: Path) -> None:
    if page in ("docs/evaluation.md", "docs/measures.md"):
        pytest.importorskip("torchmetrics")  # which `make core` does without
    run_page(page, ncsr_, stand_ins(page))


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    """Each command, run or not, is one that there is, with options and arguments that it takes."""
    group: Any = typer.main.get_command(app)
    for block in blocks_of(page):
        assert block.language or "ncsr " not in block.text, f"{page}: a block of commands is one of sh"
        for words in commands_of(block) if block.language == "sh" else ():
            if "-m" in words and words[words.index("-m") + 1].startswith("benchmarks."):
                module = words[words.index("-m") + 1]
                found = importlib.util.find_spec(module)
                assert found is not None, words
                folder = Path(found.origin or "").parent if module == "benchmarks.campaign" else None
                files = [Path(found.origin or "")] if folder is None else folder.glob("*.py")
                text = "".join(file.read_text(encoding="utf-8") for file in files)
                assert all(word in text for word in words if word.startswith("--")), words
            if "ncsr" in words and words[0] in ("ncsr", "torchrun"):
                arguments = with_address(words[words.index("ncsr") + 1 :])
                if arguments[0].startswith("-"):
                    assert any(arguments[0] in parameter.opts for parameter in group.params), words
                    continue
                context = typer.Context(group, info_name="ncsr")
                name, command, rest = group.resolve_command(context, arguments)
                with contextlib.suppress(typer.Exit):  # of options that print and end
                    command.make_context(name, rest, parent=context)


def test_a_loop_of_your_own(ncsr_: Command, here: Path) -> None:
    generator, config = torch.Generator().manual_seed(0), tiny_config()
    crops = [torch.randint(256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8) for _ in range(3)]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(0)
        run_page("docs/training.md", ncsr_, {"config": config, "crops": crops})
    model = ncsr.load("my-model", "cpu")
    assert model.config == config
    hr = crops[0].float() / 255
    bits = model(hr, ncsr.ops.resize.imresize(crops[0], 0.25).float() / 255)
    assert bits.mean() < 4  # of uniform noise in [0, 1] the least is 0


def test_where_an_image_comes_from(ncsr_: Command, here: Path) -> None:
    run_page("docs/provenance.md", ncsr_, {})
    again = ncsr.provenance("out/again.jpg")
    assert again is not None
    assert (again.model, again.samples) == ("x4", [0])
    assert ncsr.provenance("out/photo_s1.png") is not None  # made again by the page's last command


def test_latents(ncsr_: Command, here: Path) -> None:
    before = {*here.iterdir()}
    names = run_page("docs/latents.md", ncsr_, {})
    text = (ROOT / "docs/latents.md").read_text(encoding="utf-8")
    for name, shape in re.findall(r"^(\w+) = .*# \(([^)]*)\)", text, re.MULTILINE):
        sides = {"h": 36, "w": 65, "4 h": 144, "4 w": 260}
        assert names[name].shape == tuple(sides.get(side) or int(side) for side in shape.split(", ")), name
    torch.testing.assert_close(list(names["same"]), list(names["latents"]), rtol=0, atol=0)
    torch.testing.assert_close(names["map"].sum((-2, -1)), names["total"], rtol=1e-5, atol=0)
    blended = names["blend"](names["space"].latents(3, seed=7), names["one"], names["where"])
    torch.testing.assert_close(names["version"], names["space"].render(blended), rtol=0, atol=1e-4)
    assert {path.name for path in {*here.iterdir()} - before} == {"four.png", "four.safetensors", "deviation.png"}


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene8(36, 48)).save("photo.png")
    monkeypatch.setattr("ncsr.pretrained.load.load", lambda *_: lively_model(bound="atan", dtype=torch.float32))
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/commands.md").read_text(encoding="utf-8"), re.DOTALL)
    for example in examples:
        exec(example, names)
    assert names["picture"].size == (160, 120)
    assert len(examples) == 2
    for picture, same in zip(names["pictures"], names["again"], strict=True):
        assert picture.tobytes() == same.tobytes()
