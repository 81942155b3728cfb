"""`ncsr reproduce`: the tables and figures of the paper made again."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ncsr
from ncsr.evaluation import run
from ncsr.evaluation.crops import find_textured_crop
from tests.cli.reports import contents, origins_in
from tests.conftest import Command, scene8
from tests.metrics.made import save_made_alexnet
from tests.models import lively_encoder, tiny_config

pytest.importorskip("torchmetrics")
pytestmark = pytest.mark.usefixtures("quick_measures")
REPORT = ["images.csv", "index.html", "results.json", "table.md"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i, name in enumerate(("0801", "0828")):
        Image.fromarray(scene8(64, 72, seed=i)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def x8_folder(tmp_path: Path) -> Path:
    model = ncsr.NCSR(tiny_config(8, bound="atan"), "float32")
    hr = torch.stack([torch.from_numpy(scene8(64, 64, seed=i)) for i in range(4)]).permute(0, 3, 1, 2) / 255
    model.start_actnorms(hr, torch.nn.functional.avg_pool2d(hr, 8), torch.zeros_like(hr))
    model.save(tmp_path / "eight")
    return tmp_path / "eight"


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    lively_encoder(dtype=torch.float32).save(tmp_path / "plain" / "model")
    return tmp_path / "plain" / "model"


@pytest.fixture
def made_weights(tmp_path: Path) -> Path:
    return save_made_alexnet(tmp_path / "made.pth")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# tables


def test_table(
    ncsr_: Command, tiny_model_folder: Path, encoder_folder: Path, data: Path, made_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (encoder_folder.parent / "recipe.yaml").write_text("steps: 12\nbatch: 3\ncrop: 32\n")
    roles = (f"rrdb={encoder_folder}", f"NCSR={tiny_model_folder}")
    how = ("-n", 2, "--lpips-weights", made_weights, "--device", "cpu")
    result = ncsr_("reproduce", "table1", "--data", data, "--models", *roles, "-o", out, *how)
    assert (result.code, result.err) == (0, "")
    files = ["table1.csv", "table1.json", "table1.md"]
    assert sorted(path.name for path in result.paths) == sorted([*REPORT, *files])

    results, found = read(out / "results.json"), read(out / "table1.json")
    rows = {row["name"].partition(":")[0]: row for row in results["rows"]}
    assert list(rows) == ["bicubic", "RRDB", "NCSR"]
    assert (rows["NCSR"]["temperature"], rows["NCSR"]["samples"], rows["RRDB"]["samples"]) == (0.9, 2, 1)
    subjects = {s["role"]: s for s in found["subjects"]}
    assert subjects["NCSR"]["paper"] == {"diversity": 26.72, "lpips": 0.119, "lr_psnr_mean": 50.75}
    for role in ("RRDB", "NCSR"):
        for measure, value in subjects[role]["here"]["figures"].items():
            assert value == rows[role]["figures"][measure], (role, measure)
        assert subjects[role]["here"]["fingerprint"] == rows[role]["fingerprint"]
    assert set(subjects["NCSR"]["here"]["figures"]) == {"diversity", "lpips", "lr_psnr_mean"}
    assert subjects["SRFlow"]["here"] is None
    assert found["results"]["sha256"] == hashlib.sha256((out / "results.json").read_bytes()).hexdigest()
    assert found["command"].startswith("ncsr reproduce table1 ")
    assert (found["protocol"]["seed"], found["ncsr"]) == (0, ncsr.__version__)
    assert "truncated" in found["protocol"]["rounding"]

    said = "\n".join(found["differences"])
    for words in (
        "Photographs: 2 of data, 2 of them by name among the paper's (0801, 0828); the paper: the 100 validation "
        "images of DIV2K.",
        "Samples of each photograph: 2; the paper: 10.",
        "temperature 0.9, as in the paper; the model's own is 0.8.",
        "encoder.blocks 2 (paper 23)",
        "flow.steps 2 (paper 16)",
        "trained by the recipe beside it (steps 12, batch 3, crop 32",
        "The paper (rrdb-x4): 1000000 steps of 16 crops of 160 pixels.",
        "how it was trained is not recorded beside it. The paper (ncsr-x4): 220000 steps of 18 crops of 160 pixels on "
        "DF2K.",
        "other weights, SHA-256",
        "No model was given for ESRGAN, ESRGAN+, SRFlow, NCSR-extra.",
    ):
        assert words in said, words

    text = (out / "table1.md").read_text(encoding="utf-8")
    lpips, lr = (rows["NCSR"]["figures"][n] for n in ("lpips", "lr_psnr_mean"))
    diversity = rows["NCSR"]["figures"]["diversity"]
    assert (
        "| NCSR | 26.72 | {:.2f} ± {:.2f} | 0.119 | {:.4f} ± {:.4f} | 50.75 | {:.2f} ± {:.2f} |".format(
            *(value[key] for value in (diversity, lpips, lr) for key in ("mean", "ci95"))
        )
        in text
    )
    assert "| NCSR* | 26.79 | – | 0.118 | – | 50.88 | – |" in text
    assert "| | Diversity ↑, paper | here | LPIPS ↓, paper | here |" in text
    assert re.search(r"\| bicubic \| – \| 0\.00 .*\| – \| \d", text)
    with (out / "table1.csv").open(encoding="utf-8") as file:
        lines = {line["role"]: line for line in csv.DictReader(file)}
    assert (lines["SRFlow"]["lpips_paper"], lines["SRFlow"]["lpips_here"]) == ("0.120", "")
    assert float(lines["NCSR"]["lpips_here"]) == lpips["mean"]
    assert (lines["NCSR"]["seed"], lines["NCSR"]["photographs"]) == ("0", "2")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<h2>Table 1 of the paper</h2>" in page
    assert "–: not given or measured." in page
    assert "encoder.blocks 2 (paper 23)" in page


def test_running_again_or_going_on_gives_the_same_files(
    ncsr_: Command, tiny_model_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model_folder
    command = ("reproduce", "table5", f"NCSR={model}", f"no-layer={model}", "--data", data, "-n", 2, "-t", 0.7)
    result = ncsr_(*command, "-o", tmp_path / "out")
    assert (result.code, result.err) == (0, "")
    text = (tmp_path / "out/table5.md").read_text(encoding="utf-8")
    assert re.search(r"\| LPIPS[^|]*\| 0.1228 \| \d\.\d{4} ± \S+ \| 0.1193 \| \d\.\d{4} ± \S+ \|", text)
    assert re.search(r"\| LR PSNR-worst[^|]*\| 47.32 \| \d+\.\d\d ± \S+ \| 49.14 \| \d+\.\d\d ± \S+ \|", text)
    assert "temperature 0.7; the paper: 0.9; the model's own is 0.8." in text
    assert "flow.condition noise (paper none)" in text
    before = contents(tmp_path / "out")
    assert set(before) == {*REPORT, "table5.csv", "table5.json", "table5.md"}
    (tmp_path / "out").rename(tmp_path / "first")

    measured: list[str] = []
    measures = run.ImageMeasures

    def stopping(pair: Any, *rest: Any) -> Any:
        measured.append(pair.files.name)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measures(pair, *rest)

    monkeypatch.setattr(run, "ImageMeasures", stopping)
    assert ncsr_(*command, "-o", tmp_path / "out").code == 130
    assert ncsr_(*command, "-o", tmp_path / "out").code == 0
    assert measured == ["0801.png", "0828.png", "0828.png"]
    assert contents(tmp_path / "out") == before


def test_marks_and_the_challenge(ncsr_: Command, tiny_model_folder: Path, data: Path, tmp_path: Path) -> None:
    """Images that anything made may play a line, too."""
    how = ("--data", data, "-n", 1, "--limit", 1, "-o", tmp_path / "out")
    assert ncsr_("reproduce", "table6", *how, f"std={tiny_model_folder}").code == 0
    text = (tmp_path / "out/table6.md").read_text(encoding="utf-8")
    assert "| Noise-free block | ✗ |  | ✓ |  | ✗ |  | ✓ |  | ✓ |  |" in text
    assert re.search(r"\| LR-PSNR worst[^|]*\| 47.32 \| – \| 45.78 \| \d+\.\d\d \| 49.01 \| – \|", text)
    ours = tmp_path / "ours"
    ours.mkdir()
    Image.open(data / "0801.png").save(ours / "0801_s0.png")
    result = ncsr_("reproduce", "table3", *how, "-m", f"Deepest={tiny_model_folder}", "-m", f"SSS={ours}")
    assert result.code == 0, result.err
    text = (tmp_path / "out/table3.md").read_text(encoding="utf-8")
    assert "LR PSNR ≥ 45, paper | here |" in text
    assert re.search(r"\| SSS \| 0.110 \| 0.0000 \| 44.70 \| (inf|\d+\.\d\d) \| 13.285 \| – \| no \| yes \|", text)
    assert re.search(r"\| Deepest \(NCSR\) \| .* \| 50.54 \| .* \| yes \| no \|", text)
    assert "| CIPLAB | 0.121 | – | 50.70 | – | 23.091 | – | yes | – |" in text
    assert "images that were given, nothing is known of how they were made" in text


def test_without_models_it_is_the_bundled_one(
    ncsr_: Command, tiny_model_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "bundled"
    shutil.copytree(tiny_model_folder, bundled / "x4")
    monkeypatch.setattr("ncsr.pretrained.load.BUNDLED", bundled)
    result = ncsr_("reproduce", "table1", "--data", data, "--limit", 1, "-n", 1, "-o", tmp_path / "out")
    assert result.code == 0
    subjects = {s["role"]: s["here"] for s in read(tmp_path / "out/table1.json")["subjects"] if s["here"]}
    assert {role: here["model"] for role, here in subjects.items() if role != "bicubic"} == {"NCSR": "x4"}


# figures


def test_comparison(ncsr_: Command, tiny_model_folder: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("reproduce", "figure1", "--data", data, "--models", f"NCSR={tiny_model_folder}", "-n", 2, "-o", out)
    assert ncsr_(*command).code == 0
    before = contents(out)
    assert set(before) == {*REPORT, "figure1.json", "figure1.md", "figure1.png"}
    picture = Image.open(out / "figure1.png")
    assert min(picture.size) > 300
    assert torch.tensor(picture.convert("L").getextrema()).diff() > 200
    found = read(out / "figure1.json")
    assert [p["name"] for p in found["photographs"]] == ["0801.png"]  # 0831 is not there: as many as the paper shows
    hr = torch.from_numpy(scene8(64, 72, seed=0)).permute(2, 0, 1)
    assert found["photographs"][0]["place"] == [*reversed(find_textured_crop(hr, 4)[:2]), 64]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert '<img class="plot" alt="Figure 1" src="data:image/png;base64,' in page
    text = (out / "figure1.md").read_text(encoding="utf-8")
    assert re.search(r"\| 0801.png, NCSR \| \d\.\d{4} \| \d+\.\d\d \|", text)
    assert ncsr_(*command).code == 0
    assert contents(out) == before
    figure = origins_in(out)["figure1.png"]
    assert (figure.picture, figure.model, figure.scale, figure.samples) == ("part of a report", "tiny", 4, [0])
    assert figure.notice == "synthetic detail: not for identification"


def test_worst_samples(ncsr_: Command, tiny_model_folder: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = f"no-layer={tiny_model_folder}"
    assert ncsr_("reproduce", "figure2", "--data", data, "--models", model, "-n", 3, "-o", out).code == 0
    found = read(out / "figure2.json")
    (photograph,) = found["photographs"]
    assert photograph["name"] == "0828.png"  # the other one that the paper shows is not there
    worst = photograph["figures"]["no-layer"]["lr_psnr_worst"]
    text = (out / "figure2.md").read_text(encoding="utf-8")
    assert f"| 0828.png, without the layer | 21.53 | {worst:.2f} |" in text
    assert "| 0873 of DIV2K | 24.11 | – |" in text


def test_both_scales(ncsr_: Command, tiny_model_folder: Path, x8_folder: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    models = (f"NCSR-x4={tiny_model_folder}", f"NCSR-x8={x8_folder}")
    result = ncsr_("reproduce", "figure7", "--data", data, "--models", *models, "-n", 2, "-o", out)
    assert result.code == 0, result.err
    assert result.paths[-1] == out / "figure7.png"
    upper, lower, both = (
        Image.open(path) for path in (out / "x4/figure7.png", out / "x8/figure7.png", out / "figure7.png")
    )
    assert both.height == upper.height + lower.height
    assert [read(out / part / "figure7.json")["protocol"]["scale"] for part in ("x4", "x8")] == [4, 8]
    temperatures = [row["temperature"] for row in read(out / "x8/results.json")["rows"]]
    assert temperatures == [None, 0.85]
    told = origins_in(out)
    assert (told["figure7.png"].scale, told["figure7.png"].samples) == (None, [0, 1])
    assert told["figure7.png"].model == [tiny_model_folder.name, x8_folder.name]
    assert len(told["figure7.png"].model_hash or "") == 2


# wrong input


def test_wrong_arguments(
    ncsr_: Command,
    tiny_model_folder: Path,
    encoder_folder: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, how = tiny_model_folder, ("-o", tmp_path / "out", "--data", data)
    role = f"NCSR={model}"
    ncsr_("reproduce", "table7", role, *how).failed(
        "cannot reproduce 'table7': did you mean table6.*There are table1, .*"
    )
    ncsr_("reproduce", "figure2", *how).failed("figure2 needs at least one model: .* roles are no-layer")
    ncsr_("reproduce", "table1", "x4-small", *how).failed("--models takes ROLE=MODEL, got 'x4-small'; the roles of")
    ncsr_("reproduce", "table1", f"EDSR={model}", *how).failed("table1 has no 'EDSR': its roles are RRDB, ESRGAN")
    ncsr_("reproduce", "table1", role, f"ncsr={model}", *how).failed("two models are given for NCSR")
    ncsr_("reproduce", "table2", role, *how).failed("NCSR of table2 enlarges by 8, the model .*tiny by 4")
    ncsr_("reproduce", "table1", f"RRDB={model}", *how).failed("an encoder alone, the model .* a flow: .*:encoder is")
    ncsr_("reproduce", "table1", f"NCSR={encoder_folder}", *how).failed("is a flow, the model .* an encoder alone$")
    ncsr_("reproduce", "table1", "NCSR=x5-large", *how).failed("no model 'x5-large'")
    ncsr_("reproduce", "table1", role, *how, "-n", 0).failed("at least 1")
    ncsr_("reproduce", "table1", role, *how, "-t", -1).failed("temperature")
    (tmp_path / "empty").mkdir()
    ncsr_("reproduce", "table1", role, *how[:2], "--data", tmp_path / "empty").failed("holds no photographs")
    ncsr_("reproduce", "table1", f"NCSR={tmp_path / 'empty'}", *how).failed("empty holds neither a model nor images")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ncsr_("reproduce", "figure1", role, *how).failed(r"matplotlib: pip install 'ncsr\[eval\]'")
