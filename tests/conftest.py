"""What tests share: a model small enough for them, photographs to enlarge with it, and the command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import ncsr
from ncsr.cli import main
from ncsr.metrics import texture

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is imported: its kernels then run on CPUs, too

NEEDED = {
    "lightning_fabric": [
        *("training", "benchmarks/test_campaign.py", "benchmarks/test_gpu.py", "cli/test_train.py"),
        *("test_errors.py", "test_networks.py"),
    ],
    "lmdb": ["cli/test_main.py", "cli/test_prepare.py", "data/test_pack.py", "data/test_packing.py"],
    "mypy": ["upscaling/test_api.py"],
    "playwright": ["app"],
    "ray": ["upscaling/test_on_ray.py"],
    "torchmetrics": [
        *("benchmarks/test_temperature.py", "cli/test_evaluate.py", "cli/test_reproduce.py", "evaluation"),
        *(
            "metrics/test_ambient.py",
            "metrics/test_calibration.py",
            "metrics/test_fidelity.py",
            "metrics/test_pixels.py",
        ),
        *("metrics/test_ssim.py", "metrics/test_streaming.py"),
    ],
    "triton": ["flow/test_triton_kernels.py"],
}
collect_ignore = [path for package, paths in NEEDED.items() if find_spec(package) is None for path in paths]
"""Tests of extras, where these are not installed (`make core`)."""

TINY = ncsr.ModelConfig(
    encoder=ncsr.EncoderConfig(features=8, growth=4, blocks=2),
    flow=ncsr.FlowConfig(steps=2, hidden=8, stacked_blocks=(0, 1), noise_steps=(0, 2, 2), scale_bound="atan"),
    temperature=0.8,
)


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every kind of device that is here, so that a mistake in a test of GPUs shows without one."""
    return torch.device(request.param)


def scene(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """A smooth picture with some grain, (H, W, channels) in [0, 1]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 8
    waves = [np.sin(x * a + y * b + c) for a, b, c in random.uniform(-1, 1, (channels, 3))]
    grain = random.normal(0, 0.02, (height, width, channels))
    return np.clip(0.5 + 0.3 * np.stack(waves, axis=-1) + grain, 0, 1)


def scene8(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """The same in 8 bits."""
    return (scene(height, width, channels, seed) * 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_model() -> ncsr.NCSR:
    """A flow whose samples are finite and differ: actnorms started on pictures, all else moved a little."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ncsr.NCSR(TINY, "float32")
    hr = torch.stack([torch.from_numpy(scene(64, 64, seed=i)) for i in range(4)]).permute(0, 3, 1, 2).float()
    lr = torch.nn.functional.avg_pool2d(hr, 4)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "log" not in name and "conv1x1" not in name:
                value += 0.02 * torch.randn(value.shape, generator=generator)
    model.start_actnorms(hr, lr, 0.02 * torch.randn(hr.shape, generator=generator))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_model: ncsr.NCSR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a model folder."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model.save(folder)
    return folder


@dataclass
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def paths(self) -> list[Path]:
        """The paths that were printed."""
        return [Path(line) for line in self.out.splitlines()]

    def failed(self, *sentences: str, code: int = 2) -> None:
        """Assert that it said exactly these sentences (patterns), each on a line of its own, and nothing else."""
        lines = self.err.splitlines()
        assert self.code == code, self.err
        assert len(lines) == len(sentences), self.err
        for line, sentence in zip(lines, sentences, strict=True):
            assert line.startswith("ncsr: ")
            assert re.search(sentence, line), line
        assert "Traceback" not in self.err
        if code == 2:
            assert self.out == ""


Command = Callable[..., Result]


@pytest.fixture
def ncsr_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `ncsr` with these arguments in this process."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["ncsr", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Result(end.value.code if isinstance(end.value.code, int) else 0, out, err)

    return run


@pytest.fixture
def quick_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few patches of texture, whose sorting would take most time."""
    monkeypatch.setattr(texture, "PATCHES", 256)
    monkeypatch.setattr(texture, "DIRECTIONS", 8)


def run_process(*arguments: object, **how: Any) -> Result:
    """Runs `python -m ncsr` as a process of its own."""
    command = [sys.executable, "-m", "ncsr", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=process_environment(), **how
    )
    return Result(done.returncode, done.stdout, done.stderr)


def process_environment() -> dict[str, str]:
    """Of a process of its own: this package, on one thread, on a terminal of 100 columns."""
    return os.environ | {"PYTHONPATH": str(Path(ncsr.__file__).parents[1]), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser, playwright's: the machine's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        if "CI" in os.environ:
            pytest.fail("the tests of pages need Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
