"""The GPU benchmark, on tiny networks: static steps learn what eager ones do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from benchmarks import gpu


def lines_of(capsys: pytest.CaptureFixture[str], device: torch.device, *arguments: str) -> list[dict[str, Any]]:
    gpu.main(["--device", device.type, "--tiny", *arguments])
    machine, *lines = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "torch" in machine["machine"]
    return lines


def test_captured_losses_are_the_eager_ones(device: torch.device, capsys: pytest.CaptureFixture[str]) -> None:
    exact, captured, fused = lines_of(capsys, device, "--only", "losses")
    assert 0 < captured["mean"] < exact["mean"] < 0.01
    assert 0 < fused["mean"] < exact["mean"]


@pytest.mark.slow
def test_figures(device: torch.device, capsys: pytest.CaptureFixture[str]) -> None:
    """All that a GPU is measured by."""
    *steps, marks = lines_of(capsys, device, "--only", "training")
    names = [(way, network) for way in ("eager", "captured", "fused") for network in ("full", "medium")]
    assert [(line["way"], line["step"]) for line in steps] == names
    assert all(line["ms"] > 0 for line in steps)
    assert marks["marks"]["full"]["fused"] == 90
    *ways, drawing, round_trip = lines_of(capsys, device, "--only", "sampling")
    assert [line["way"] for line in ways] == ["eager", "captured"][: 2 if device.type == "cuda" else 1]
    assert all(0 < drawing["of_these_drawing_latents_ms"] < line["ms"] for line in ways)
    assert drawing["captured_from_eager"] == 0
    assert round_trip["float32_round_trip"] < 1e-3
