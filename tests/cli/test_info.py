"""`ncsr info`: what it says of a model."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import ncsr
from tests.conftest import TINY, Command


def test_info(ncsr_: Command, tiny_model_folder: Path, tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    result = ncsr_("info", tiny_model_folder)
    assert (result.code, result.err) == (0, "")
    millions = sum(p.numel() for p in tiny_model.parameters()) / 1e6
    for words in ("x4", "conditional normalizing flow", f"{millions:.2f} million parameters", "features 8", "steps 2"):
        assert words in result.out
    assert "noise_steps [0, 2, 2]" in result.out
    assert "default temperature: 0.8" in result.out
    assert "card" not in result.out
    alone = ncsr_("info", tiny_model_folder / "model.safetensors")
    assert alone.out.splitlines()[1:] == result.out.splitlines()[1:]
    ncsr.NCSR(TINY.model_copy(update={"flow": None})).save(tmp_path / "rrdb")
    (tmp_path / "rrdb" / "README.md").write_text("# Card")
    rrdb = ncsr_("info", tmp_path / "rrdb").out
    assert "encoder only" in rrdb
    assert f"card: {tmp_path / 'rrdb' / 'README.md'}" in rrdb


def test_info_of_an_image(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.new("RGB", (8, 8)).save(photo)
    assert ncsr_("info", photo).out == f"{photo}: it does not say where it comes from\n"
    ncsr_("upscale", photo, "-o", out, "-m", tiny_model_folder, "-n", 1, "--seed", 3)
    lines = ncsr_("info", out).out.splitlines()
    assert lines[0] == f"{out}: sample"
    assert {"seed: 3", "model: tiny", "notice: synthetic detail: not for identification"} <= {*lines}
    ncsr_("info", tmp_path / "none.png").failed("there is no such file")
