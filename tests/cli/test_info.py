"""`ncsr info`: what it says of a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import ncsr
from ncsr.hub.card import read_card
from ncsr.pretrained.load import BUNDLED, bundled_models
from ncsr.serialization import read_model
from tests.conftest import TINY, Command, scene8


def test_info(ncsr_: Command, tiny_model_folder: Path, tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    result = ncsr_("info", tiny_model_folder)
    assert (result.code, result.err) == (0, "")
    millions = sum(p.numel() for p in tiny_model.parameters()) / 1e6
    for words in ("x4", "conditional normalizing flow", f"{millions:.2f} million parameters", "features 8", "steps 2"):
        assert words in result.out
    assert "noise_steps [0, 2, 2]" in result.out
    assert "default temperature: 0.8" in result.out
    assert not re.search("card|licence", result.out)
    alone = ncsr_("info", tiny_model_folder / "model.safetensors")
    assert alone.out.splitlines()[1:] == result.out.splitlines()[1:]
    ncsr.NCSR(TINY.model_copy(update={"flow": None})).save(tmp_path / "rrdb")
    (tmp_path / "rrdb" / "README.md").write_text("# Card")
    rrdb = ncsr_("info", tmp_path / "rrdb").out
    assert "encoder only" in rrdb
    assert f"card: {tmp_path / 'rrdb' / 'README.md'}" in rrdb
    (tmp_path / "rrdb" / "card.json").write_text('{"licence": "MIT", "lpips": 0.1, "measured_on": "a"}')
    assert "\nlicence: MIT\n" in ncsr_("info", tmp_path / "rrdb").out
    (tmp_path / "rrdb" / "card.json").write_text('{"calibrated_temperature": 0.95}')
    assert "\ntemperature for uncertainty: 0.95\n" in ncsr_("info", tmp_path / "rrdb").out
    (tmp_path / "rrdb" / "card.json").write_text('{"lpips": 0.1}')
    ncsr_("info", tmp_path / "rrdb").failed("card.json is not the card of a model: .*lpips and measured_on go together")


def test_the_bundled_models(
    ncsr_: Command, tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x4", "x4-small"):
        tiny_model.save(tmp_path / name)
    card = {"licence": "CC-BY-SA-4.0", "lpips": 0.23, "measured_on": "temperature 0.8, two photographs"}
    (tmp_path / "x4" / "card.json").write_text(json.dumps(card))
    monkeypatch.setattr("ncsr.pretrained.load.BUNDLED", tmp_path)
    result = ncsr_("info")
    assert (result.code, result.err) == (0, "")
    head, first, second, blank, *notes = result.out.splitlines()
    assert head.split() == ["model", "scale", "size", "temperature", "speed", "here", "LPIPS", "licence"]
    assert re.fullmatch(r"x4 \(default\)  x4     0\.\d MB +0\.8 +\S+ Mpixel/s +0\.230  CC-BY-SA-4\.0", first)
    assert re.fullmatch(r"x4-small      x4     0\.\d MB +0\.8 +\S+ Mpixel/s +–      –", second)
    assert (blank, notes[1:3]) == ("", ["LPIPS of x4: temperature 0.8, two photographs", ""])
    assert re.fullmatch(r"what +licence +commercial use", notes[3])
    assert re.fullmatch(r"code +Apache-2\.0 +yes", notes[4])


@pytest.mark.parametrize("name", bundled_models())
def test_cards_of_bundled_models_are_true(name: str) -> None:
    folder = BUNDLED / name
    card, text = read_card(folder), (folder / "README.md").read_text(encoding="utf-8")
    assert card is not None
    assert f"{card.lpips:.3f}" in text
    assert card.licence.replace("CC-", "CC ", 1).replace("-4.0", " 4.0") in (folder / "LICENSE").read_text("utf-8")
    temperature = read_model(folder)[0].temperature
    if card.calibrated_temperature is not None:
        assert f"For uncertainty, {card.calibrated_temperature:g}: " in text
    assert card.measured_on.startswith(f"temperature {temperature:g}, ")
    assert f"efault temperature {temperature:g}" in text


def test_info_of_an_image(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.new("RGB", (8, 8)).save(photo)
    assert ncsr_("info", photo).out == f"{photo}: it does not say where it comes from\n"
    ncsr_("upscale", photo, "-o", out, "-m", tiny_model_folder, "-n", 1, "--seed", 3)
    lines = ncsr_("info", out).out.splitlines()
    assert lines[0] == f"{out}: sample"
    assert {"seed: 3", "model: tiny", "notice: synthetic detail: not for identification"} <= {*lines}
    ncsr_("info", tmp_path / "none.png").failed("there is no such file")


def test_maps_and_sidecars_say_where_they_come_from(
    ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene8(8, 8)).save("photo.png")
    command = (
        "upscale",
        "photo.png",
        "-o",
        "out",
        "-m",
        tiny_model_folder,
        "-n",
        2,
        "--std-format",
        "npy",
        "--sidecar",
    )
    assert ncsr_(*command).code == 0
    for name, kind in (("photo_std.npy", "standard deviation"), ("photo_s0.png.json", "sample")):
        result = ncsr_("info", f"out/{name}")
        assert (result.code, result.out.splitlines()[0]) == (0, f"out/{name}: {kind}"), result.err
