"""`ncsr bench`, and what it measures with."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ncsr
from ncsr.ops.conv import conv2d
from ncsr.runtime.timing import convolution_rate, gigaflops, machine, seconds_of
from tests.conftest import Command


@pytest.fixture(autouse=True)
def _leave_the_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.runtime.device.keep_freed_memory", lambda: None)


@pytest.mark.parametrize("convolve", [partial(F.conv2d, padding=1), conv2d])
def test_arithmetic_is_counted(convolve: Callable[[Tensor, Tensor], Tensor]) -> None:
    x, weight = torch.randn(2, 3, 8, 6), torch.randn(4, 3, 3, 3)
    assert gigaflops(lambda: convolve(x, weight)) == pytest.approx(2 * 9 * 3 * 4 * 2 * 8 * 6 / 1e9)
    assert gigaflops(lambda: None) == 0


def test_times_and_rates() -> None:
    runs: list[int] = []
    assert 0 <= seconds_of(lambda: runs.append(0), repeats=4) < 1
    assert len(runs) == 4
    assert convolution_rate(torch.float32, side=16) > 0.01
    assert f"torch {torch.__version__}" in machine()


def test_a_flow(ncsr_: Command, tiny_model_folder: Path) -> None:
    result = ncsr_("bench", "-m", tiny_model_folder, "-n", 2, "--side", 8, "--device", "cpu")
    assert (result.code, result.err) == (0, "")
    assert f"torch {torch.__version__}" in result.out
    assert f"{tiny_model_folder}: 8 x 8 to 32 x 32; precision auto is" in result.out
    for precision in ("float32", "bfloat16"):
        assert re.search(rf"{precision}, 3x3 convolutions at \d+ GFLOP/s", result.out)
    assert len(re.findall(r"the image's space: \d+\.\d+ s, \d+\.\d times the floor of \d+\.\d+ s", result.out)) == 2
    assert len(re.findall(r"one of \d samples: \d+\.\d+ s, \d+\.\d times the floor", result.out)) == 2
    assert len(re.findall(r"in all: \d+\.\d+ samples per second", result.out)) == 2


def test_an_encoder_alone(ncsr_: Command, tmp_path: Path) -> None:
    model = ncsr.NCSR(ncsr.ModelConfig(encoder=ncsr.EncoderConfig(features=4, growth=2, blocks=1), flow=None))
    model.save(tmp_path / "model")
    result = ncsr_("bench", "-m", tmp_path / "model", "--side", 4, "--device", "cpu")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"one of 10 samples: \d+\.\d+ s$", result.out, re.MULTILINE)  # no arithmetic, no floor


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-n", 0), "at least 1 sample.*got -n 0 --side 64"),
        (("--side", 3), "at least 4 pixels, got -n 10 --side 3"),
        (("-m", "x5-small"), "no model 'x5-small'"),
        (("--device", "abacus"), "no device 'abacus'"),
    ],
)
def test_wrong_input(ncsr_: Command, tiny_model_folder: Path, arguments: tuple[object, ...], reason: str) -> None:
    ncsr_("bench", *(() if "-m" in arguments else ("-m", tiny_model_folder)), *arguments).failed(reason)
