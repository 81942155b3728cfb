"""Training for minutes: it ends in time, is gone on with, and trains the encoder first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning_fabric import Fabric

import ncsr
from ncsr.errors import InputError
from ncsr.training import run as run_module
from ncsr.training.checkpoints import checkpoints
from ncsr.training.recipe import Recipe
from ncsr.training.run import train
from ncsr.training.stages import split_minutes, train_stages
from ncsr.training.trainer import Trainer
from tests.conftest import TINY
from tests.training.conftest import BASE, L1, make_recipe, make_run, read_steps

SECONDS = 3.0


def test_a_run_of_minutes_ends_in_time_and_is_not_gone_on_with(fabric: Fabric, tmp_path: Path) -> None:
    recipe = make_recipe(minutes=SECONDS / 60, steps=1, warmup=0, learning_rate=1.0e-3)
    begun = time.monotonic()
    run = make_run(recipe, tmp_path, fabric)
    run.begin()
    run._longest["saving"] = run.trainer.reserve = SECONDS / 3  # as if the disk were slow
    run.train()
    assert time.monotonic() - begun < 4 * SECONDS  # of a machine that may have other work
    steps = read_steps(tmp_path)
    rates = [step["rate"] for step in steps]
    assert len(steps) > 2
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.5e-3 > rates[-1]
    again = make_run(recipe, tmp_path, fabric)
    again.resume()
    again.train()
    assert len(read_steps(tmp_path)) == len(steps)


def test_what_was_spent_before_counts(fabric: Fabric) -> None:
    trainer = Trainer(make_recipe(minutes=1.0), fabric)
    assert trainer.done() < 0.5
    trainer.spent = 45.0
    assert 0.75 <= trainer.done() < 1
    trainer.reserve = 20.0
    assert trainer.done() == 1


@pytest.fixture
def staged(tmp_path: Path) -> Recipe:
    encoder = tmp_path / "encoder.yaml"
    encoder.write_text(yaml.safe_dump({**BASE, **L1, "warmup": 0}))
    return make_recipe(minutes=2 * SECONDS / 60, encoder_recipe=str(encoder), encoder_share=0.5, seed=3, warmup=0)


def test_the_minutes_are_shared(staged: Recipe) -> None:
    encoder, flow = split_minutes(staged)
    assert (encoder.objective, flow.objective) == ("l1", "likelihood")
    assert encoder.minutes == pytest.approx(flow.minutes) == pytest.approx(SECONDS / 60)
    assert encoder.seed == 3


def test_the_encoder_is_trained_first(staged: Recipe, recipe: Path, tmp_path: Path) -> None:
    run, data = tmp_path / "run", [recipe.parent / "data"]
    model = ncsr.load(str(train_stages(staged, data, run, device="cpu")))
    assert model.config == TINY
    assert ncsr.load(str(run / "encoder" / "model")).config.flow is None
    taken = len(read_steps(run)), len(read_steps(run / "encoder"))
    assert min(taken) > 2
    train_stages(staged, data, run, device="cpu", resume=True)
    assert (len(read_steps(run)), len(read_steps(run / "encoder"))) == taken


def test_the_encoder_is_gone_on_with(staged: Recipe, recipe: Path, tmp_path: Path) -> None:
    run, data = tmp_path / "run", [recipe.parent / "data"]
    train(split_minutes(staged)[0], data, run / "encoder", device="cpu")
    taken = len(read_steps(run / "encoder"))
    train_stages(staged, data, run, device="cpu", resume=True)
    assert len(read_steps(run / "encoder")) == taken
    assert checkpoints(run)


def test_a_run_that_began_from_a_model_is_gone_on_with(staged: Recipe, recipe: Path, tmp_path: Path) -> None:
    """Without an encoder's stage, which `--resume` finds out by itself."""
    run, data = tmp_path / "run", [recipe.parent / "data"]
    train(staged, data, run, device="cpu")
    taken = len(read_steps(run))
    assert train_stages(staged, data, run, device="cpu", resume=True) == run / "model"
    assert len(read_steps(run)) == taken
    assert not (run / "encoder").exists()
    with pytest.raises(InputError, match=r"nothing to resume in .*: no checkpoint in"):
        train_stages(staged, data, tmp_path / "none", device="cpu", resume=True)


def test_the_encoder_is_that_of_the_flow(staged: Recipe) -> None:
    changes = {"features": 4, "growth": 3}
    changed = staged.model.model_copy(update={"encoder": staged.model.encoder.model_copy(update=changes)})
    encoder, flow = split_minutes(staged.model_copy(update={"model": changed}))
    assert encoder.model.encoder == flow.model.encoder
    assert encoder.model.encoder.features == 4


def test_reading_photographs_counts(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose minutes are up when its photographs have been read takes one step and ends."""
    opened = run_module.open_photos

    def slow(*arguments: Any, **how: Any) -> Any:
        time.sleep(SECONDS)
        return opened(*arguments, **how)

    monkeypatch.setattr(run_module, "open_photos", slow)
    train(make_recipe(minutes=SECONDS / 60), [recipe.parent / "data"], tmp_path / "run", device="cpu")
    assert len(read_steps(tmp_path / "run")) == 1
