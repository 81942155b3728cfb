"""The sweep that chooses a default temperature, on a tiny model, and its choice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.temperature import choice, gather, main
from tests.conftest import scene8

pytest.importorskip("torchmetrics")
pytest.importorskip("matplotlib")


def test_lowest_lpips_with_ties_to_the_more_diverse() -> None:
    means = {
        0.6: {"lpips": 0.2, "diversity": 10.0},
        0.7: {"lpips": 0.2019, "diversity": 12.0},
        0.8: {"lpips": 0.2021, "diversity": 14.0},
    }
    assert choice(means) == 0.7


def test_shares_make_a_whole(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.metrics.texture.DIRECTIONS", 16)  # quick
    monkeypatch.setattr("ncsr.metrics.texture.PATCHES", 256)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(2):
        Image.fromarray(scene8(64, 48, seed=i)).save(photos / f"{i}.png")
    for share, out in (("1/1", "whole"), ("1/2", "parts"), ("2/2", "parts")):
        words = f"{tiny_model_folder} {photos} -o {tmp_path / out} -n 2 -t 0 0.5 --share {share}".split()
        monkeypatch.setattr(sys, "argv", ["temperature", *words])
        main()
    whole, parts = (gather(tmp_path / name) for name in ("whole", "parts"))
    assert whole[1] == parts[1] == 2
    assert set(whole[0]) == {0.0, 0.5}
    assert whole[0][0.0]["diversity"] == 0 < whole[0][0.5]["diversity"]
    for t, figures in whole[0].items():
        assert parts[0][t] == pytest.approx(figures, rel=1e-9, nan_ok=True)
    assert Image.open(tmp_path / "whole" / "sweep.png").format == "PNG"
