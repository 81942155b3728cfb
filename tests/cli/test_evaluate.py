"""`ncsr evaluate` and `ncsr measure`: what is written, repeated, gone on with, and said of wrong input."""

from __future__ import annotations

import base64
import csv
import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from PIL import Image

import ncsr
from ncsr.evaluation import run
from ncsr.evaluation.records import Records
from ncsr.metrics import luma_psnr
from ncsr.ops.resize import imresize
from ncsr.runtime.files import atomic_path
from ncsr.upscaling.tile_size import SMALLEST
from tests.cli.reports import REPORT, close, contents, read, rows, save
from tests.conftest import Command, scene8
from tests.metrics.made import save_made_alexnet

pytest.importorskip("torchmetrics")
pytestmark = pytest.mark.usefixtures("quick_measures")


def test_report(ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", tiny_model_folder
    result = ncsr_("evaluate", model, f"{model}:encoder", "bicubic", "--hr", hr, "-o", out, "-n", 2, "--device", "cpu")
    assert result.code == 0
    assert result.paths == [out / name for name in REPORT]
    (said,) = result.err.splitlines()
    assert re.match(r"ncsr: .*:encoder is the encoder as the flow's training left it", said)

    found = read(out)
    assert [row["name"] for row in found["rows"]] == ["bicubic", "tiny, t = 0", "tiny, t = 0.8", "tiny:encoder"]
    assert found["command"].startswith("ncsr evaluate tiny tiny:encoder bicubic --hr hr ")
    assert found["ncsr"] == ncsr.__version__
    protocol = found["protocol"]
    assert (protocol["scale"], protocol["seed"], protocol["shave"], protocol["precision"]) == (4, 0, 4, "float32")
    assert "MATLAB" in protocol["lr_images"]
    assert protocol["lpips"] == "AlexNet v0.1, published weights alexnet-owt-7be5be79.pth"
    assert all(row["fingerprint"] for row in found["rows"][1:])
    assert {name for name, row in rows(out).items() if "bits_per_dim" in row} == {"tiny, t = 0", "tiny, t = 0.8"}

    photographs = [
        torch.from_numpy(scene8(*size, seed=i)).permute(2, 0, 1) for i, size in enumerate([(64, 72), (66, 65)])
    ]
    expected = []
    for photograph in photographs:
        cropped = photograph[:, :64, : photograph.shape[2] // 4 * 4]
        expected.append(luma_psnr(imresize(imresize(cropped, 0.25), 4), cropped, 4).item())
    bicubic = rows(out)["bicubic"]["luma_psnr"]
    assert bicubic["mean"] == pytest.approx(sum(expected) / 2)
    assert bicubic["ci95"] == pytest.approx(12.706 * abs(expected[0] - expected[1]) / 2, rel=1e-6)
    with (out / "images.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["image"], line["row"]) for line in lines][:2] == [
        ("0801.png", "bicubic"),
        ("0801.png", "tiny, t = 0"),
    ]
    assert len(lines) == 8
    assert float(lines[0]["luma_psnr"]) == pytest.approx(expected[0])
    assert all(float(line["lpips"]) > 0 for line in lines)
    assert [float(line["diversity"]) > 0 for line in lines[:4]] == [False, False, True, False]
    table = (out / "table.md").read_text()
    assert table.startswith("| | bicubic | tiny, t = 0 | tiny, t = 0.8 |")
    assert "| LPIPS" in table
    assert "| Diversity, LPIPS" in table
    html = (out / "index.html").read_text()
    assert html.count("<section>") == 2
    assert "sample 1" in html
    assert "<dt>LPIPS</dt><dd>AlexNet v0.1, published weights" in html
    assert "Worst place by LPIPS of tiny, t = 0.8" in html
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert _told(html, tmp_path) == {
        ("photograph", (None, None, ())), ("LR", (None, None, ())), ("bicubic", (None, None, ())),
        ("tiny, t = 0", (0.0, None, (0,))), ("tiny:encoder", (1.0, 0, (0,))),
        ("tiny, t = 0.8, sample 0", (0.8, 0, (0,))), ("tiny, t = 0.8, standard deviation", (0.8, 0, (0, 1))),
        ("sample 0", (0.8, 0, (0,))), ("sample 1", (0.8, 0, (1,))), ("std", (0.8, 0, (0, 1))),
    }  # fmt: skip


def _told(html: str, folder: Path) -> set[tuple[str, Any]]:
    """The pictures of a page by their labels, with temperature, seed and samples of their origin."""
    told = set()
    for kind, data, label in re.findall(
        r'src="data:image/(\w+);base64,([^"]+)".*?<figcaption>(.*?)</', html, re.DOTALL
    ):
        picture = folder / f"picture.{kind}"
        picture.write_bytes(base64.b64decode(data))
        origin = ncsr.provenance(picture)
        assert origin is not None
        assert (origin.picture == "part of a report") == (origin.model is not None) == (origin.notice is not None)
        told.add((label, (origin.temperature, origin.seed, tuple(origin.samples))))
    return told


def test_repeats_bit_for_bit(ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path) -> None:
    command = ("evaluate", tiny_model_folder, "--hr", hr, "-o", tmp_path / "out", "-n", 2, "-t", 0.5, "-t", 0.9)
    assert ncsr_(*command).paths[-1] == tmp_path / "out" / "sweep.png"
    before = contents(tmp_path / "out")
    assert set(before) == {*REPORT, "sweep.png"}
    (tmp_path / "out").rename(tmp_path / "first")
    ncsr_(*command)
    assert contents(tmp_path / "out") == before


def test_goes_on_where_it_was_stopped(
    ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", tiny_model_folder, "--hr", hr, "-o", tmp_path / "out", "-n", 2)
    ncsr_(*command)
    before = contents(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "first")
    measured: list[str] = []
    measure = run.ImageMeasures

    def stopping(pair: Any, *rest: Any) -> Any:
        measured.append(pair.files.name)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measure(pair, *rest)

    monkeypatch.setattr(run, "ImageMeasures", stopping)
    assert ncsr_(*command).code == 130
    assert contents(tmp_path / "out") == {}
    assert ncsr_(*command).code == 0
    assert measured == ["0801.png", "0802.png", "0802.png"]
    assert contents(tmp_path / "out") == before
    ncsr_(*command)
    assert len(measured) == 3  # nothing is left to do
    save(hr / "0801.png", 64, 64, seed=9)
    ncsr_(*command)
    assert len(measured) == 5  # another photograph: the set as a whole is measured anew
    assert ncsr_(*command, "--seed", 1).code == 0
    assert len(measured) == 7


def test_ranks_share_the_photographs(
    ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank after the other, in this process; the slow test below has real ones.

    A photograph that none can read fails once, and a rank that dies in the middle goes on from its records.
    """

    def alone(values: list[Any], value: Any) -> None:
        values[:] = [value] * len(values)

    for name, function in (("init_process_group", None), ("destroy_process_group", None), ("all_gather_object", alone)):
        monkeypatch.setattr(dist, name, function or (lambda *rest, **how: None))
    save(hr / "0803.png", 64, 64, 3)
    save(hr / "0804.png", 64, 64, 4)
    (hr / "0805.png").write_bytes((hr / "0801.png").read_bytes()[:60])
    command = ("evaluate", tiny_model_folder, "--hr", hr, "-n", 2, "-o")
    one = ncsr_(*command, tmp_path / "one")
    assert one.code == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    add, added = Records.add, []

    def dying(self: Records, name: str, *rest: Any) -> None:
        add(self, name, *rest)
        added.append(name)
        if len(added) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Records, "add", dying)
    assert ncsr_(*command, tmp_path / "out").code == 130
    result = ncsr_(*command, tmp_path / "out")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert added == ["0802.png", "0804.png"]
    monkeypatch.setenv("RANK", "0")
    result = ncsr_(*command, tmp_path / "out")
    assert result.code == 1
    assert set(result.err.splitlines()) == set(one.err.splitlines())
    states = sorted(path.name for path in (tmp_path / "out").glob(".ncsr-*/set-*"))
    assert states == ["set-0-of-2.safetensors", "set-1-of-2.safetensors"]
    assert (tmp_path / "out/images.csv").read_bytes() == (tmp_path / "one/images.csv").read_bytes()
    assert "0805.png" in read(tmp_path / "out")["notes"][-1]
    for name, row in rows(tmp_path / "one").items():
        for measure, value in row.items():
            assert rows(tmp_path / "out")[name][measure]["mean"] == close(value["mean"], 1e-9), measure


@pytest.mark.slow
def test_several_processes_share_the_photographs(
    ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path
) -> None:
    save(hr / "0803.png", 64, 64, seed=5)
    arguments = [
        "evaluate",
        tiny_model_folder,
        "--hr",
        hr,
        "-o",
        "out",
        "-n",
        "2",
        "--pictures",
        "1",
        "--device",
        "cpu",
    ]
    environment = os.environ | {
        "PYTHONPATH": str(Path(ncsr.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29655",
        "WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ncsr", *map(str, arguments)],
            cwd=tmp_path,
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [text.split() for text in printed] == [[f"out/{name}" for name in REPORT], []]
    assert len(list((tmp_path / "out").glob(".ncsr-*/set-*"))) == 2
    ncsr_(*arguments[:5], tmp_path / "one", *arguments[6:])
    for name, row in rows(tmp_path / "one").items():
        for measure, value in row.items():
            if measure == "texture_distance":  # of more patches there
                continue
            assert rows(tmp_path / "out")[name][measure]["mean"] == close(value["mean"], 1e-4), measure


def test_lpips_with_weights(ncsr_: Command, hr: Path, tmp_path: Path) -> None:
    how = ("--lpips-weights", save_made_alexnet(tmp_path / "made.pth"))
    result = ncsr_("evaluate", "bicubic", "-s", 4, "--hr", hr, "-o", tmp_path / "out", *how)
    assert (result.code, result.err) == (0, "")
    bicubic = rows(tmp_path / "out")["bicubic"]
    assert bicubic["lpips"]["mean"] > 0
    assert bicubic["diversity"]["mean"] == 0
    assert "other weights, SHA-256" in read(tmp_path / "out")["protocol"]["lpips"]
    result = ncsr_("evaluate", "bicubic", "-s", 4, "--hr", hr, "-o", tmp_path / "out", "--lpips-weights", "nothing.pth")
    result.failed("no file")


def test_other_kernels_and_broken_files_are_named(ncsr_: Command, hr: Path, tmp_path: Path) -> None:
    for name in ("0801", "0802"):
        picture = Image.open(hr / f"{name}.png")
        width, height = (side // 4 for side in picture.size)
        (tmp_path / "lr").mkdir(exist_ok=True)
        picture.resize((width, height), Image.Resampling.NEAREST).save(tmp_path / "lr" / f"{name}.png")
    command = ("evaluate", "bicubic", "-s", 4, "--hr", hr, "--lr", tmp_path / "lr", "-o", tmp_path / "out")
    result = ncsr_(*command)
    assert result.code == 0
    assert "2 of 2 LR images given are not the bicubic reduction" in result.err
    assert read(tmp_path / "out")["protocol"]["lr_images"] == "as given"
    (hr / "0802.png").write_bytes(b"broken")
    result = ncsr_(*command)
    assert result.code == 1
    assert "0802.png" in result.err.splitlines()[-1]
    assert [image["name"] for image in read(tmp_path / "out")["images"]] == ["0801.png"]
    assert "0802.png" in " ".join(read(tmp_path / "out")["notes"])
    (hr / "0801.png").write_bytes(b"broken")
    result = ncsr_(*command[:-1], tmp_path / "none")
    assert (result.code, result.out) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bicubic"], "bicubic alone has no scale: give one, -s 4 or -s 8, or name a model"),
        (["x5-large"], "no model 'x5-large'"),
        (["bicubic", "-s", 4, "-n", 0], "at least 1"),
        (["bicubic", "-s", 4, "-t", -1], "temperature"),
    ],
)
def test_wrong_arguments(ncsr_: Command, hr: Path, tmp_path: Path, arguments: list[object], words: str) -> None:
    ncsr_("evaluate", *arguments, "--hr", hr, "-o", tmp_path / "out").failed(words)


def test_the_smallest_tile_is_that_of_upscaling(ncsr_: Command, hr: Path, tmp_path: Path) -> None:
    """The option states the number itself: importing it would import PyTorch."""
    how = ("evaluate", "bicubic", "-s", 4, "--hr", hr, "-o", tmp_path / "out", "--tile", SMALLEST - 1)
    result = ncsr_(*how)
    assert result.code == 2
    assert re.search(rf"equal to {SMALLEST}\b|x>={SMALLEST}\b", result.err)


def test_models_of_two_scales(ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path) -> None:
    ncsr_("evaluate", tiny_model_folder, "x8-small", "--hr", hr, "-o", tmp_path / "out").failed(
        "x8-small enlarges by 8, the model before it by 4: a report is of one scale, so evaluate them apart"
    )


def test_full_disk(
    ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ncsr.evaluation.records.atomic_path", full)
    result = ncsr_("evaluate", tiny_model_folder, "--hr", hr, "-o", tmp_path / "out", "-n", 1)
    assert result.code == 2
    assert "No space left on device; make room there, then start again: it goes on" in result.err
    assert "Traceback" not in result.err


def test_a_photograph_whose_record_could_not_be_written_is_not_done(
    ncsr_: Command, hr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_once(path: Path) -> Any:
        if path.name == "0801.png.json" and not failed:
            failed.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return atomic_path(path)

    failed: list[Path] = []
    monkeypatch.setattr("ncsr.evaluation.records.atomic_path", full_once)
    command = ("evaluate", "bicubic", "-s", 4, "--hr", hr, "-o", tmp_path / "out")
    assert ncsr_(*command).code == 1
    assert [image["name"] for image in read(tmp_path / "out")["images"]] == ["0802.png"]
    assert ncsr_(*command).code == 0
    assert [image["name"] for image in read(tmp_path / "out")["images"]] == ["0801.png", "0802.png"]


def test_missing_extras(
    ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", tiny_model_folder, "--hr", hr, "-o", tmp_path / "out", "-t", 0.5, "-t", 0.9)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ncsr_(*command).failed(r"matplotlib: pip install 'ncsr\[eval\]'")
    for name in [
        name
        for name in sys.modules
        if name.startswith(("ncsr.evaluation", "ncsr.cli.reporting", "ncsr.metrics.streaming"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    ncsr_(*command).failed(r"torchmetrics: pip install 'ncsr\[eval\]'")


def test_calibration(ncsr_: Command, tiny_model_folder: Path, hr: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = ("evaluate", tiny_model_folder, "--hr", hr, "-n", 3, "--device", "cpu", "--limit", 1, "-o", out)
    result = ncsr_(*how, "--calibration")
    assert result.code == 0, result.err
    assert out / "calibration.png" in result.paths
    assert "<h2>Calibration</h2>" in (out / "index.html").read_text()
    figures = rows(out)
    names = ("spread_skill", "coverage_50", "coverage_90")
    assert all(figures["tiny, t = 0.8"][name]["mean"] > 0 for name in names)
    assert all(figures["bicubic"][name]["mean"] is None for name in names)  # one image has no spread
    assert all(row["crps"]["mean"] > 0 for row in figures.values())
    before = contents(out)
    assert ncsr_(*how, "--calibration").code == 0  # from the records
    assert contents(out) == before
    assert ncsr_(*how).code == 0
    assert "crps" not in rows(out)["bicubic"]
