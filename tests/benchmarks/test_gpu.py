"""The GPU benchmark, on tiny networks: static steps learn what eager ones do."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import gpu


def test_captured_losses_are_the_eager_ones(device: torch.device, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--device", device.type, "--tiny", "--only", "losses"])
    machine, exact, captured = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "torch" in machine["machine"]
    assert 0 < captured["mean"] < exact["mean"] < 0.01
