"""Runs of several processes, and on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import ncsr
from ncsr.training.checkpoints import read_newest
from tests.conftest import Command, scene8
from tests.training.conftest import (
    read_log,
    read_steps,
    start_ncsr,
    start_python,
    train_command,
    wait_until,
)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """As other processes have: Adam's first steps go by the sign of what is zero but for rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("more", [pytest.param((), marks=pytest.mark.slow), ("average=0.9", "accumulate=2")])
def test_two_processes_train_as_one(ncsr_: Command, recipe: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    """They agree on when to stop, too."""
    one, two = tmp_path / "one", tmp_path / "two"

    def command(run: Path, steps: int) -> list[str]:
        frozen = (10 + 0.5) / steps if more else 0  # the encoder for 10 steps
        values = ("warmup=20", "batch=4", "precision=float32", f"steps={steps}", f"encoder_frozen={frozen}", *more)
        return train_command(recipe, run, *(part for value in values for part in ("--set", value)))

    process = start_ncsr(command(two, 10**6), 2)
    wait_until(process, lambda: len(read_steps(two)) >= 14)
    process.terminate()  # torchrun passes it on to both
    _, err = process.communicate(timeout=100)
    assert "saved; go on with" in err
    taken = len(read_steps(two))
    assert read_newest(two)[0]["step"] == taken
    assert ncsr_(*command(one, taken)).code == 0
    losses, shared = ([step["loss"] for step in read_steps(run)] for run in (one, two))
    assert len(losses) == taken
    assert losses[0] != losses[-1]
    assert shared[:20] == pytest.approx(losses[:20], abs=1e-5)  # rounding grows from step to step
    single, double = (ncsr.load(run / "model").state_dict() for run in (one, two))
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
