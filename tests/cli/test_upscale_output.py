"""`ncsr upscale`: sizes that are asked for, and what is printed for people and for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ncsr
from ncsr.metrics import lr_psnr
from ncsr.runtime.progress import ProgressBar
from tests.conftest import Command, Result, scene8

_H, _W = 18, 20


@pytest.fixture
def upscale(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `ncsr upscale` with the tiny model, in a folder with photo.png and other.png."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("photo.png", "other.png")):
        Image.fromarray(scene8(_H, _W, seed=seed)).save(name)
    return lambda *arguments: ncsr_("upscale", "-m", tiny_model_folder, "-o", "out", *arguments)


def _lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


# sizes


@pytest.mark.parametrize("how", [("--factor", 2.5), ("--size", "50x"), ("--size", "x45"), ("--size", "50x45")])
def test_any_size(upscale: Command, how: tuple[object, ...]) -> None:
    result = upscale("photo.png", "--seed", 0, "-n", 2, "--std", "--sheet", *how)
    told = "ncsr: photo.png: enlarged by 4, then reduced by bicubic to 50 x 45 pixels\n"
    assert (result.code, result.err) == (0, told)
    assert [Image.open(path).size for path in result.paths[:3]] == [(50, 45)] * 3
    origins = [ncsr.provenance(path) for path in result.paths]
    assert [origin and origin.size for origin in origins] == [[50, 45]] * 4
    first, second = (np.asarray(Image.open(path)).astype(float) for path in result.paths[:2])
    spread = np.asarray(Image.open(result.paths[2]))
    assert abs(spread - np.clip((abs(first - second) / 2).mean(2) * 255 / 32, 0, 255)).max() < 1  # at this size


def test_the_model_s_own_size_is_written_as_without_asking(upscale: Command) -> None:
    files = []
    for how in ((), ("--factor", 4), ("--size", f"{4 * _W}x")):
        result = upscale("photo.png", "--seed", 0, "-n", 1, *how)
        assert result.err == ""
        files.append(result.paths[0].read_bytes())
    assert files[0] == files[1] == files[2]


def test_each_photograph_of_a_folder_gets_the_size_or_a_sentence(upscale: Command) -> None:
    Image.fromarray(scene8(8, 8)).save("small.png")
    result = upscale(".", "--seed", 0, "-n", 1, "--size", "50x", "--tile", 16)
    assert (result.code, [path.name for path in result.paths]) == (1, ["other.png", "photo.png"])
    assert [Image.open(path).size for path in result.paths] == [(50, 45)] * 2
    assert "ncsr: small.png: the photograph has 8 x 8 pixels, and 50 x 50 are asked for" in result.err


def test_a_change_of_the_size_is_a_change(upscale: Command) -> None:
    how = ("photo.png", "--seed", 0, "-n", 1, "--skip-existing", "--factor")
    assert [len(upscale(*how, factor).paths) for factor in (2, 2, 3)] == [1, 0, 1]


def test_wrong_sizes(ncsr_: Command, upscale: Command) -> None:
    for size in ("50", "x", "ax5", "-3x", "5x5x5", "1" * 9 + "x"):
        upscale("photo.png", "--size", size).failed("--size takes WIDTHxHEIGHT in pixels, .* got '")
    upscale("photo.png", "--size", "50x", "--factor", 2).failed("give one")
    upscale("photo.png", "--factor", 5).failed("the factor must be from 1 to 4")
    upscale("photo.png", "--factor", 2, "--consistent").failed("leave out the final size, or consistent")
    ncsr_("upscale", "photo.png", "-o", "out", "--factor", 9).failed("the factor must be from 1 to 8")
    assert not Path("out").exists()


def test_plan_knows_the_size(ncsr_: Command, upscale: Command, tiny_model_folder: Path) -> None:
    told = ncsr_("plan", "photo.png", "-m", tiny_model_folder, "--factor", 2.5).out
    assert told.startswith("photo.png: 20 x 18 -> 50 x 45 (enlarged by 4, then reduced), 4 images\n")
    ncsr_("plan", "photo.png", "-m", tiny_model_folder, "--size", "500x").failed("ask for at most 80 x 72")


# what is printed


def test_quiet(upscale: Command) -> None:
    result = upscale("photo.png", "none.png", "-q", "-n", 1, "--factor", 2)
    assert (result.code, [path.name for path in result.paths]) == (1, ["photo.png"])
    assert re.fullmatch(r"ncsr: .*none\.png.*\n", result.err)
    assert upscale("photo.png", "--quiet", "--consistent", "--skip-existing").err == ""
    assert upscale("photo.png", "--quiet", "--consistent", "--skip-existing").err == ""


def test_json(upscale: Command) -> None:
    Path("broken.png").write_bytes(b"no image")
    result = upscale("photo.png", "broken.png", "none.png", "--json", "-n", 2, "--seed", 7, "--std", "--sidecar")
    assert result.code == 1
    lines = _lines(result)
    pictures = [line for line in lines if "path" in line]
    assert [line["path"] for line in pictures] == ["out/photo_s0.png", "out/photo_s1.png", "out/photo_std.png"]
    assert [line["sample"] for line in pictures] == [0, 1, None]
    assert [line["picture"] for line in pictures] == ["sample", "sample", "standard deviation"]
    assert {(line["photograph"], line["seed"], line["temperature"]) for line in pictures} == {("photo.png", 7, 0.8)}
    assert all(0 < line["seconds"] < 60 for line in pictures[:2])
    lr = torch.from_numpy(np.array(Image.open("photo.png"))).permute(2, 0, 1)
    for line in pictures[:2]:
        written = torch.from_numpy(np.array(Image.open(line["path"]))).permute(2, 0, 1)
        assert line["lr_psnr"] == pytest.approx(lr_psnr(written, lr).item(), abs=0.006)
    assert pictures[2]["lr_psnr"] is None
    failures = [line["error"] for line in lines if "error" in line]
    assert len(failures) == 2
    for failure in failures:
        assert f"ncsr: {failure}\n" in result.err
    assert {line.get("photograph") for line in lines} == {"photo.png", "broken.png", "none.png"}


def test_json_of_other_sizes_temperature_0_and_what_was_done_before(upscale: Command) -> None:
    how = ("photo.png", "other.png", "--json", "-t", 0, "--factor", 2, "--skip-existing", "-q")
    lines = _lines(upscale(*how))
    assert [(line["path"], line["seed"], line["sample"]) for line in lines] == [
        ("out/photo.png", None, 0),
        ("out/other.png", None, 0),
    ]
    assert all(10 < line["lr_psnr"] < 70 for line in lines)
    assert _lines(upscale(*how)) == [{"photograph": f"{name}.png", "skipped": True} for name in ("photo", "other")]


def test_no_codes_of_terminals(monkeypatch: pytest.MonkeyPatch, ncsr_: Command) -> None:
    """None where it is no terminal; and no colours where NO_COLOR says so, though it is one."""
    assert "\x1b" not in ncsr_("upscale", "--help").out
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what tells rich that it is a terminal
    coloured = r"\x1b\[[0-9;]*?(3[0-9]|4[0-9]|9[0-7])"
    with ProgressBar(2) as bar:
        assert bar.shown
        bar.update("photo.png", 1)
    help_ = ncsr_("upscale", "--help")
    assert not re.search(coloured, help_.out + help_.err)
