"""`ncsr export`: what onnxruntime makes of the file is what the package makes."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ncsr
import ncsr.pretrained.onnx
from ncsr.config import EncoderConfig, FlowConfig, ModelConfig
from ncsr.serialization import fingerprint
from ncsr.space.flow_space import FlowSpace
from tests.conftest import Command
from tests.models import enliven, lively_encoder

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZES = [(1, 4, 4), (1, 7, 10), (4, 13, 6), (3, 8, 9)]  # samples, LR rows and columns


def images_of(path: Path, model: ncsr.NCSR, size: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the file and what the package make of the same LR images and latents."""
    samples, height, width = size
    generator = torch.Generator().manual_seed(1)
    lr = F.interpolate(torch.rand(1, 3, 2, 2, generator=generator), (height, width), mode="bilinear")
    latents = ncsr.pretrained.onnx.draw_latents(model, samples, height, width, generator)
    session = ort.InferenceSession(str(path))
    named = dict(zip([i.name for i in session.get_inputs()], [lr.numpy(), *(z.numpy() for z in latents)], strict=True))
    (actual,) = session.run(["hr"], named)
    with torch.no_grad():
        space = model.space(lr)
        if not isinstance(space, FlowSpace):
            return torch.from_numpy(actual), space.sample(1, 0)[0]
        expected = space.decode(latents).clamp(0, 1)
    return torch.from_numpy(actual), expected


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's file."""
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    assert ncsr.pretrained.onnx.export(ncsr.load("x4-small", "cpu", "float32"), path) < 1e-4
    return path


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_the_bundled_model(small: Path, size: tuple[int, int, int]) -> None:
    actual, expected = images_of(small, ncsr.load("x4-small", "cpu", "float32"), size)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_seeds_sample(small: Path) -> None:
    """The latents of `ncsr.sampling.latents` give the image that `sample` gives."""
    from ncsr.sampling.latents import Window, draw_latent

    model = ncsr.load("x4-small", "cpu", "float32")
    lr = F.interpolate(torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)), (6, 8), mode="bilinear")
    session = ort.InferenceSession(str(small))
    cells = json.loads(session.get_modelmeta().custom_metadata_map["cells"])
    named = {"lr": lr.numpy()}
    for i, (given, cell) in enumerate(zip(session.get_inputs()[1:], cells, strict=True)):
        shape = (given.shape[1], 24 // cell, 32 // cell)
        named[given.name] = 0.7 * draw_latent(Window(shape, (0, 0), cell), (5, 1, 0, i)).numpy()[None]
    (image,) = session.run(["hr"], named)
    expected = model.space(lr).sample(2, 0.7, seed=5)[1]
    torch.testing.assert_close(torch.from_numpy(image), expected, rtol=0, atol=1e-4)


def test_a_made_model(tmp_path: Path) -> None:
    """One step a level, as the tracing takes seconds for each; the bundled model has more."""
    encoder = EncoderConfig(features=4, growth=2, blocks=1)
    flow = FlowConfig(steps=1, hidden=6, stacked_blocks=(0,), noise_steps=(0, 1, 1), scale_bound="atan")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = enliven(ncsr.NCSR(ModelConfig(encoder=encoder, flow=flow), "float32")).eval()
    assert ncsr.pretrained.onnx.export(model, tmp_path / "tiny.onnx") < 1e-4
    for size in SIZES:
        actual, expected = images_of(tmp_path / "tiny.onnx", model, size)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_an_encoder_alone_by_the_command_and_what_the_file_says(ncsr_: Command, tmp_path: Path) -> None:
    model = lively_encoder(dtype=torch.float32)
    model.save(tmp_path / "model")
    result = ncsr_("export", tmp_path / "model", "-o", tmp_path / "encoder.onnx")
    assert (result.code, result.paths) == (0, [tmp_path / "encoder.onnx"])
    assert "at most" in result.err
    for size in SIZES:
        actual, expected = images_of(tmp_path / "encoder.onnx", model, size)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)
    session = ort.InferenceSession(str(tmp_path / "encoder.onnx"))
    assert (
        session.get_modelmeta().custom_metadata_map.items()
        >= {
            "scale": "4",
            "temperature": "0.9",
            "cells": "[]",
            "model": fingerprint(model.config, model.state_dict()),
            "version": ncsr.__version__,
        }.items()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.onnx", "model"]


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=lambda path: path.write_bytes(b"file"))
    monkeypatch.setattr(ncsr.pretrained.onnx, "_program", lambda model: program)
    monkeypatch.setattr(ncsr.pretrained.onnx, "check", lambda model, path: float("nan"))
    with pytest.raises(ncsr.InputError, match="nothing was written"):
        ncsr.pretrained.onnx.export(lively_encoder(dtype=torch.float32), tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_images_that_are_not_finite_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first image alone: the largest difference is none that a later one hides."""
    answers = iter([math.nan, 0.0])

    def run(names: list[str], inputs: dict[str, Any]) -> list[Any]:
        _, _, height, width = inputs["lr"].shape
        return [np.full((1, 3, 4 * height, 4 * width), next(answers), np.float32)]

    runtime = SimpleNamespace(InferenceSession=lambda *_, **__: SimpleNamespace(run=run))
    monkeypatch.setattr(ncsr.pretrained.onnx, "_runtime", lambda: runtime)
    assert math.isnan(ncsr.pretrained.onnx.check(lively_encoder(dtype=torch.float32), tmp_path / "encoder.onnx"))


@pytest.mark.parametrize(
    ("model", "output", "reason"),
    [
        ("x5-small", "a.onnx", "no model 'x5-small'"),
        ("x4-small", "a.pt", r"must be named \*\.onnx, got .*a\.pt"),
        ("x4-small", "missing/a.onnx", "no folder .*missing to write a.onnx into"),
    ],
)
def test_wrong_input(ncsr_: Command, tmp_path: Path, model: str, output: str, reason: str) -> None:
    ncsr_("export", model, "-o", tmp_path / output).failed(reason)


def test_without_the_extra(ncsr_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    ncsr_("export", "x4-small", "-o", tmp_path / "a.onnx").failed(r"pip install 'ncsr\[onnx\]'")
