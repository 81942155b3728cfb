"""`ncsr convert`: published checkpoints become model folders, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ncsr
from tests.conftest import Command, run_process, scene8
from tests.parity import CASES, golden, inputs, reference_state, relative_error


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(scene8(6, 8)).save(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published checkpoint, prefixes and all."""
    path = tmp_path_factory.mktemp("published") / "reference.pth"
    torch.save({f"module.{key}": value for key, value in reference_state(CASES[0].name).items()}, path)
    return path


def test_convert(ncsr_: Command, checkpoint: Path, photo: Path, tmp_path: Path) -> None:
    case, folder = CASES[0], tmp_path / "model"
    result = ncsr_("convert", checkpoint, "-o", folder, "--noise-steps", "0,1,2", "--stacked-blocks", "0,1,2,3")
    assert (result.code, result.err, result.paths) == (0, "", [folder])
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    model = ncsr.load(folder, "cpu", "float32")
    hr, lr, noise = inputs(case)
    for latent, index in zip(model.space(lr).encode(hr, noise), range(3), strict=False):
        assert relative_error(latent, golden(case.name)[f"latent_{index}"]) < 1e-5
    enlarged = ncsr_("upscale", photo, "-m", folder, "-o", tmp_path / "out", "-n", 1, "-t", 0.1)
    assert enlarged.code == 0


def test_convert_encoder_alone(ncsr_: Command, photo: Path, tmp_path: Path) -> None:
    torch.save(reference_state("basicsr_rrdb_tiny"), tmp_path / "rrdb.pth")
    assert ncsr_("convert", tmp_path / "rrdb.pth", "-o", tmp_path / "last", "--trunk-skip", "last").code == 0
    assert ncsr_("convert", tmp_path / "rrdb.pth", "-o", tmp_path / "first").code == 0
    skips = [ncsr.load(tmp_path / name, "cpu").config.encoder.trunk_skip for name in ("last", "first")]
    assert skips == ["last", "first"]
    result = ncsr_("upscale", photo, "-m", tmp_path / "first", "-o", tmp_path / "out", "-n", 1)
    assert result.paths == [tmp_path / "out" / "photo.png"]


def test_convert_lists_bad_keys(ncsr_: Command, tmp_path: Path) -> None:
    state = reference_state(CASES[0].name)
    norm = "flowUpsamplerNet.layers.1.actnorm.bias"
    del state[norm]
    state["RRDB.extra.weight"] = torch.zeros(3)
    state["RRDB.trunk_conv.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "bad.pth")
    result = ncsr_("convert", tmp_path / "bad.pth", "-o", tmp_path / "model", "--noise-steps", "0,1,2")
    result.failed(
        rf"missing: {norm}; unexpected: RRDB\.extra\.weight; misshapen: RRDB\.trunk_conv\.bias \(5,\) instead of"
    )
    assert not (tmp_path / "model").exists()


class _Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def test_convert_runs_no_code(ncsr_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Malicious()}, "torch.pth")
    Path("plain.pth").write_bytes(pickle.dumps({"weight": _Malicious()}))
    for name in ("torch.pth", "plain.pth"):
        ncsr_("convert", name, "-o", "model").failed(rf"{name} is not a checkpoint that can be read safely")
    assert sorted(os.listdir(tmp_path)) == ["plain.pth", "torch.pth"]


def test_process_with_wrong_input(tmp_path: Path) -> None:
    """PyTorch warns about this file; nobody is to see that."""
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": _Malicious()}, protocol=4))
    run_process("convert", "plain.pth", "-o", "model", cwd=tmp_path).failed(
        r"plain\.pth is not a checkpoint that can be"
    )
    assert sorted(os.listdir(tmp_path)) == ["plain.pth"]


def test_convert_refuses_what_is_no_checkpoint(ncsr_: Command, checkpoint: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "model")
    (tmp_path / "text.pth").write_text("no checkpoint")
    (tmp_path / "empty.pth").write_text("")
    (tmp_path / "cut.pth").write_bytes(checkpoint.read_bytes()[:5000])
    for name in ("text.pth", "empty.pth", "cut.pth"):
        ncsr_("convert", tmp_path / name, *out).failed("can be read safely")
    ncsr_("convert", tmp_path / "none.pth", *out).failed("no file")
    ncsr_("convert", tmp_path, *out).failed("can be read safely")
    torch.save([1, 2], tmp_path / "list.pth")
    ncsr_("convert", tmp_path / "list.pth", *out).failed("holds no state dict")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    ncsr_("convert", tmp_path / "other.pth", *out).failed("no encoder of a known style")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (("--noise-steps", "0,x"), r"--noise-steps takes numbers with commas between, as 0,16,16, got '0,x'"),
        (("--noise-steps", "0,1"), r"noise_steps needs one number per level"),
        (("--noise-steps", "0,1,9"), r"noise_steps must lie in 0\.\.2"),
        (("--noise-steps", "0,1,2", "--stacked-blocks", "0,1,2,9"), r"stacked_blocks must lie in 0\.\.3"),
        (("--trunk-skip", "middle"), r"--trunk-skip must be first or last, got 'middle'"),
    ],
)
def test_convert_with_wrong_options(
    ncsr_: Command, checkpoint: Path, tmp_path: Path, how: Sequence[str], reason: str
) -> None:
    ncsr_("convert", checkpoint, "-o", tmp_path / "model", *how).failed(reason)
    assert not (tmp_path / "model").exists()


def test_convert_into_a_file(ncsr_: Command, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    how = ("--noise-steps", "0,1,2")
    ncsr_("convert", checkpoint, "-o", tmp_path / "file", *how).failed("cannot make the folder")
    ncsr_("convert", checkpoint, "-o", tmp_path / "file" / "model", *how).failed("cannot make the folder")
    assert (tmp_path / "file").read_text() == "precious"
