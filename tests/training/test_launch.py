"""Runs of several processes, and on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import ncsr
from tests.conftest import Command, scene8
from tests.training.conftest import (
    read_log,
    read_steps,
    start_ncsr,
    start_python,
    train_command,
)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param((), marks=pytest.mark.slow),
        ("--set", "encoder_frozen=0.5", "--set", "average=0.9", "--set", "accumulate=2"),
    ],
)
def test_two_processes_train_as_one(ncsr_: Command, recipe: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    common = ("--set", "steps=20", "--set", "warmup=20", "--set", "batch=4", "--set", "precision=float32", *more)
    runs = tmp_path / "one", tmp_path / "two"
    process = start_ncsr(train_command(recipe, runs[1], *common), 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the others have: Adam's first steps go by the sign of what is zero but for rounding
    try:
        assert ncsr_(*train_command(recipe, runs[0], *common)).code == 0
    finally:
        torch.set_num_threads(threads)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    one, two = ([step["loss"] for step in read_steps(run)] for run in runs)
    assert len(one) == len(two) == 20
    assert one[0] != one[-1]
    assert two == pytest.approx(one, abs=1e-5)
    single, double = (ncsr.load(run / "model").state_dict() for run in runs)
    for key, value in single.items():
        # As a whole: where a gradient is all but zero, Adam's steps go by the sign of its rounding.
        assert (double[key].double() - value.double()).norm() <= 1e-3 * value.double().norm() + 1e-3, key


_SLOW_VALIDATION = """
import sys, time
from datetime import timedelta
from functools import partial
import ncsr.training.launch as launch
import ncsr.training.run as run
from ncsr.cli import main

def slow_validate(*arguments):
    time.sleep(15)
    return validate(*arguments)

validate, run.validate = run.validate, slow_validate
launch.DDPStrategy = partial(launch.DDPStrategy, timeout=timedelta(seconds=8))
main()
"""


@pytest.mark.slow
def test_validation_may_take_longer_than_processes_wait_for_a_step(recipe: Path, tmp_path: Path) -> None:
    held_out, script = tmp_path / "held out" / "photo.png", tmp_path / "slow.py"
    held_out.parent.mkdir()
    Image.fromarray(scene8(72, 80)).save(held_out)
    script.write_text(_SLOW_VALIDATION)
    more = ("--validate", str(held_out.parent), "--set", "steps=2", "--set", "validate_every=1")
    process = start_python([str(script), *train_command(recipe, tmp_path / "run", *more)], 2)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert [line["step"] for line in read_log(tmp_path / "run") if "event" in line] == [1, 2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_on_a_device(
    ncsr_: Command, recipe: Path, tmp_path: Path, device: torch.device, precision: str
) -> None:
    run = tmp_path / "run"
    more = ("--set", "steps=20", "--set", "average=0.9", "--set", f"precision={precision}")
    assert ncsr_(*train_command(recipe, run, *more, "--device", device.type)).code == 0
    losses = [step["loss"] for step in read_steps(run)]
    assert len(losses) == 20
    assert sum(losses[-5:]) < sum(losses[:5])
    assert ncsr.load(run / "model", "cpu").space(torch.rand(1, 3, 4, 4)).sample(2, seed=0).isfinite().all()
