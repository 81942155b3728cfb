"""`ncsr measure`: the figures of `ncsr evaluate`, and what is said of files that do not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from ncsr.ops.resize import imresize
from tests.cli.reports import REPORT, close, read, rows, save
from tests.conftest import Command, scene8

pytest.importorskip("torchmetrics")
pytestmark = pytest.mark.usefixtures("quick_measures")


def test_measure_agrees_with_evaluate(ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path) -> None:
    """Samples saved by `ncsr upscale` measure as `ncsr evaluate` measures the model."""
    ncsr_("evaluate", tiny_model_folder, "--hr", hr, "-o", tmp_path / "direct", "-n", 2, "--seed", 3)
    for path in hr.iterdir():
        photograph = torch.from_numpy(scene8(*reversed(Image.open(path).size), seed=int(path.stem[-1]) - 1))
        photograph = photograph.permute(2, 0, 1)[:, :64, : photograph.shape[1] // 4 * 4]
        picture = Image.fromarray(imresize(photograph, 0.25).permute(1, 2, 0).numpy())
        (tmp_path / "lr").mkdir(exist_ok=True)
        picture.save(tmp_path / "lr" / path.name)
    how = ("-n", 2, "--seed", 3, "-m", tiny_model_folder, "--precision", "float32", "--device", "cpu")
    assert ncsr_("upscale", tmp_path / "lr", "-o", tmp_path / "sr", *how).code == 0
    result = ncsr_("measure", "--hr", hr, "--sr", tmp_path / "sr", "--scale", 4, "-o", tmp_path / "out")
    assert result.code == 0
    assert result.paths == [tmp_path / "out" / name for name in REPORT]
    direct, measured = rows(tmp_path / "direct")["tiny, t = 0.8"], rows(tmp_path / "out")["sr"]
    assert set(direct) - set(measured) == {"bits_per_dim"}
    for name, value in measured.items():
        assert value["mean"] == close(direct[name]["mean"], 1e-6), name


def test_measure_names_what_is_wrong(ncsr_: Command, hr: Path, tmp_path: Path) -> None:
    sr = tmp_path / "sr"
    save(sr / "000000_sample00000.png", 64, 72)
    save(sr / "000001_sample00000.png", 66, 65)
    save(sr / "readme.png", 8, 8)
    command = ("measure", "--hr", hr, "--sr", sr, "--scale", 4, "-o", tmp_path / "out")
    result = ncsr_(*command)
    assert result.code == 1
    assert "readme.png belongs to no photograph" in result.err
    assert (
        "000001_sample00000.png is 65 x 66 pixels: 0802.png, cropped to a multiple of the scale, is 64 x 64"
        in result.err
    )
    assert "pixel_deviation" not in rows(tmp_path / "out")["sr"]
    assert rows(tmp_path / "out")["sr"]["luma_psnr"]["images"] == 1
    (sr / "000000_sample00000.png").unlink()
    result = ncsr_(*command)
    assert (result.code, result.out) == (2, "")
    assert "no image of 0801.png" in result.err


def test_a_failure_names_its_photograph_though_another_name_ends_alike(ncsr_: Command, tmp_path: Path) -> None:
    """000000_sample00001.png, which is broken, ends in 1.png, the photograph that it belongs to."""
    for i, name in enumerate(("1.png", "2.png")):
        save(tmp_path / "hr" / name, 64, 64, i)
        for k in range(2):
            save(tmp_path / "sr" / f"{i:06d}_sample{k:05d}.png", 64, 64, i)
    (tmp_path / "sr" / "000000_sample00001.png").write_bytes(b"broken")
    result = ncsr_("measure", "--hr", tmp_path / "hr", "--sr", tmp_path / "sr", "-s", 4, "-o", tmp_path / "out")
    assert result.code == 1
    assert re.match(r"ncsr: 1\.png: .*000000_sample00001\.png", result.err.splitlines()[-1])
    assert [image["name"] for image in read(tmp_path / "out")["images"]] == ["2.png"]


def test_names_of_other_tools(ncsr_: Command, hr: Path, tmp_path: Path) -> None:
    save(tmp_path / "sr/0801x4_out.png", 64, 72)
    save(tmp_path / "sr/0802x4_out.png", 64, 64)
    command = ("measure", "--hr", hr, "--sr", tmp_path / "sr", "-s", 4, "-o", tmp_path / "out")
    assert ncsr_(*command).code == 2
    result = ncsr_(*command, "--pattern", "{stem}x{scale}_out")
    assert (result.code, result.err) == (0, "")
    ncsr_(*command, "--pattern", "{stem}_{k}").failed("^ncsr: a pattern of file names needs {stem} once")


@pytest.mark.parametrize("name", ["table.md", "index.html"])
def test_a_report_that_cannot_be_written_is_one_sentence(ncsr_: Command, hr: Path, tmp_path: Path, name: str) -> None:
    """What was measured is taken from there when the way is free."""
    save(tmp_path / "sr/0801.png", 64, 72)
    save(tmp_path / "sr/0802.png", 64, 64)
    (tmp_path / "out" / name).mkdir(parents=True)
    command = ("measure", "--hr", hr, "--sr", tmp_path / "sr", "-s", 4, "-o", tmp_path / "out")
    ncsr_(*command).failed(f"cannot write .*{name}: Is a directory; what was measured stays")
    (tmp_path / "out" / name).rmdir()
    assert ncsr_(*command).code == 0
