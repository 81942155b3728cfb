"""What tests of training share: small recipes and photographs, runs in this process, and runs as users start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from ncsr.data.loader import Batch, batches
from ncsr.training.recipe import Recipe
from ncsr.training.run import Run
from ncsr.training.trainer import Trainer
from tests.conftest import TINY, scene8

BASE = {
    "objective": "likelihood",
    "model": TINY.model_dump(mode="json"),
    "steps": 4,
    "batch": 2,
    "crop": 16,
    "noise": 0.05,
    "learning_rate": 2e-3,
    "warmup": 2,
    "schedule": "cosine",
    "checkpoint_every": 2,
    "precision": "float32",
}
L1 = {"objective": "l1", "noise": 0.0, "model": {**TINY.model_dump(mode="json"), "flow": None}}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def make_recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(BASE | changes)


def flow_changes(**changes: Any) -> dict[str, Any]:
    return {"model": {**BASE["model"], "flow": {**BASE["model"]["flow"], **changes}}}


def make_photos(side: int = 24) -> list[Tensor]:
    return [torch.from_numpy(scene8(side, side + 8, seed=1)).permute(2, 0, 1).contiguous()]


def make_batches(recipe: Recipe, start: int = 0) -> Iterator[Batch]:
    return batches(make_photos(), recipe, recipe.model.scale, range(start, start + 100), range(recipe.batch))


def started_trainer(recipe: Recipe, fabric: Fabric, init: Path | None = None) -> Trainer:
    trainer = Trainer(recipe, fabric, init)
    trainer.start(next(make_batches(recipe)))
    return trainer


def advance(trainer: Trainer, steps: int) -> list[float]:
    """Take steps; returns their losses."""
    crops = make_batches(trainer.recipe, trainer.step)
    return [trainer.advance(next(crops)).loss for _ in range(steps)]


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal bit for bit, through dictionaries and lists."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert one == other, where


def make_run(recipe: Recipe, folder: Path, fabric: Fabric, **how: Any) -> Run:
    return Run(Trainer(recipe, fabric), folder, make_photos(), **how)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log.jsonl."""
    lines = (folder / "log.jsonl").read_text().splitlines() if (folder / "log.jsonl").exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """The steps among them."""
    return [line for line in read_log(folder) if "event" not in line]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe without end, with photographs in the folder `data`."""
    (tmp_path / "data" / "inner").mkdir(parents=True)
    Image.fromarray(scene8(24, 32, seed=1)).save(tmp_path / "data" / "inner" / "photo.png")
    values = {
        "objective": "likelihood",
        "model": TINY.model_dump(mode="json"),
        "steps": 10**6,
        "batch": 2,
        "crop": 16,
        "noise": 0.05,
        "schedule": "constant",
        "checkpoint_every": 3,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "recipe.yaml"


def train_command(recipe: Path, run: Path, *more: str) -> list[str]:
    return ["train", str(recipe), "--data", str(recipe.parent / "data"), "-o", str(run), "--device", "cpu", *more]


def start_python(arguments: list[str], processes: int = 1, **how: Any) -> subprocess.Popen[str]:
    """Start `python ARGUMENTS`, in several processes by torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **how)


def start_ncsr(arguments: list[str], processes: int = 1, **how: Any) -> subprocess.Popen[str]:
    return start_python(["-m", "ncsr", *arguments], processes, **how)


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def no_larger_files(size: int) -> Iterator[None]:
    """No file that this process writes grows larger than this, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
