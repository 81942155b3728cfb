"""A run in its folder: exact resuming, what it leaves there, and what happens when steps fail, or the disk is full."""

from __future__ import annotations

import errno
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

import ncsr
from ncsr.data.loader import Batch
from ncsr.errors import InputError
from ncsr.training.checkpoints import checkpoints, read_newest
from ncsr.training.recipe import load_recipe
from ncsr.training.run import Diverged
from ncsr.training.signals import Interrupted
from ncsr.training.trainer import Trainer
from tests.conftest import TINY, Command
from tests.training.conftest import (
    L1,
    advance,
    assert_same,
    make_photos,
    make_recipe,
    make_run,
    no_larger_files,
    read_log,
    read_steps,
    start_ncsr,
    train_command,
    wait_until,
)


@pytest.mark.parametrize("changes", [{"average": 0.9, "encoder_frozen": 0.6}, L1])
def test_resuming_is_exact(fabric: Fabric, tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = make_recipe(**changes, steps=8, checkpoint_every=4, keep=9)
    straight = make_run(recipe, tmp_path / "straight", fabric)
    straight.begin()
    straight.train()
    again = make_run(recipe, tmp_path / "again", fabric)
    again.begin()
    again.train()
    (tmp_path / "again" / "checkpoints" / "step-00000008.pt").unlink()  # as if it had been killed after step 4
    second = make_run(recipe, tmp_path / "again", fabric)
    assert second.resume() == []
    assert second.trainer.step == 4
    assert second.train() == tmp_path / "again" / "model"
    assert_same(straight.trainer.state(), second.trainer.state())
    assert read_log(tmp_path / "straight") == read_log(tmp_path / "again")
    assert [e["step"] for e in read_log(tmp_path / "again")] == list(range(1, 9))


@pytest.mark.parametrize("place", ["log.TrainingLog.step", "run.Run._save_model"])
def test_files_that_cannot_be_written(
    place: str, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_recipe(), tmp_path, fabric)
    run.begin()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"ncsr.training.{place}", full)
    with pytest.raises(InputError, match=r"run folder .*: No space left on device; make room there, then resume"):
        run.train()


def test_run_folder(fabric: Fabric, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    recipe = make_recipe(validate_every=2)
    run = make_run(recipe, folder, fabric, held_out=make_photos(72))
    run.begin()
    assert run.train() == folder / "model"
    assert {"recipe.yaml", "checkpoints", "model", "best", "log.jsonl", "validation"} <= {
        p.name for p in folder.iterdir()
    }
    assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    assert not list(folder.rglob(".*"))
    assert load_recipe(str(folder / "recipe.yaml")) == recipe
    assert [path.name for path in checkpoints(folder)] == [f"step-0000000{n}.pt" for n in (4, 2, 0)]
    assert torch.load(checkpoints(folder)[0], weights_only=True)["recipe"] == recipe.model_dump(mode="json")
    for name in ("model", "best"):
        model = ncsr.load(folder / name)
        assert model.config == TINY
        assert model.space(torch.rand(1, 3, 4, 4)).sample(1, seed=0).isfinite().all()
    with pytest.raises(InputError, match="holds a run already: give --resume"):
        make_run(recipe, folder, fabric).begin()
    done = make_run(recipe, folder, fabric)
    done.resume()
    assert done.train() == folder / "model"  # nothing is left to do
    with pytest.raises(InputError, match=r"another recipe \(clip: inf -> 1\.0; learning_rate: 0\.002 -> 0\.001\)"):
        make_run(make_recipe(validate_every=2, learning_rate=1e-3, clip=1.0), folder, fabric).resume()


def test_resuming_makes_the_model_of_the_checkpoint(fabric: Fabric, tmp_path: Path) -> None:
    """As after a kill, or a full disk, between the last checkpoint and its model."""
    run = make_run(make_recipe(), tmp_path, fabric)
    run.begin()
    first = ncsr.load(tmp_path / "model").state_dict()
    run.train()
    last = ncsr.load(tmp_path / "model").state_dict()
    run.trainer.restore(torch.load(checkpoints(tmp_path)[-1], weights_only=True))
    run.trainer.result().save(tmp_path / "model")
    again = make_run(make_recipe(), tmp_path, fabric)
    again.resume()
    again.train()
    found = ncsr.load(tmp_path / "model").state_dict()
    name = "encoder.first.weight"
    assert torch.equal(found[name], last[name])
    assert not torch.equal(found[name], first[name])


def test_resuming_a_run_from_before_a_key_was_there(fabric: Fabric, tmp_path: Path) -> None:
    make_run(make_recipe(), tmp_path, fabric).begin()
    newest = checkpoints(tmp_path)[0]
    state = torch.load(newest, weights_only=True)
    del state["recipe"]["noise_mix_probability"]
    torch.save(state, newest)
    assert make_run(make_recipe(), tmp_path, fabric).resume() == []
    with pytest.raises(InputError, match=r"another recipe \(noise_mix_probability: 0\.0 -> 0\.5\)"):
        make_run(make_recipe(noise_mix_probability=0.5), tmp_path, fabric).resume()


def test_resuming_a_run_from_before_keys_were_renamed(fabric: Fabric, tmp_path: Path) -> None:
    recipe = make_recipe(noise_mix_probability=0.5, max_rollbacks=2)
    make_run(recipe, tmp_path, fabric).begin()
    newest = checkpoints(tmp_path)[0]
    state = torch.load(newest, weights_only=True)
    state["recipe"]["strange"] = state["recipe"].pop("noise_mix_probability")
    state["recipe"]["returns"] = state["recipe"].pop("max_rollbacks")
    torch.save(state, newest)
    run = make_run(recipe, tmp_path, fabric)
    assert run.resume() == []
    assert run.train() == tmp_path / "model"
    with pytest.raises(InputError, match=r"another recipe \(max_rollbacks: 2 -> 3\)"):
        make_run(make_recipe(noise_mix_probability=0.5), tmp_path, fabric).resume()


class _Killed(BaseException):
    """As if the process had been killed."""


def _kill() -> None:
    raise _Killed


def _terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("place", "step", "stop"),
    [("run.validate", 2, _kill), ("log.TrainingLog.image", 2, _kill), ("trainer.Trainer.enqueue", 1, _terminate)],
)
def test_a_validation_that_is_cut_off_is_made_up(
    place: str, step: int, stop: Callable[[], None], fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(validate_every=2, validate_temperatures=(0.0,), keep=9)
    straight, again = (make_run(recipe, tmp_path / name, fabric, held_out=make_photos(72)) for name in ("1", "2"))
    straight.begin()
    straight.train()
    again.begin()
    original = resolve_name(f"ncsr.training.{place}")

    def stopped(*arguments: Any) -> Any:
        if again.trainer.step == step:
            stop()
        return original(*arguments)

    with monkeypatch.context() as during:
        during.setattr(f"ncsr.training.{place}", stopped)
        with pytest.raises((_Killed, Interrupted)):
            again.train()
    resumed = make_run(recipe, again.folder, fabric, held_out=make_photos(72))
    assert resumed.resume() == []
    assert resumed.trainer.step == 2
    resumed.train()
    assert read_log(straight.folder) == read_log(again.folder)
    assert_same(*(read_newest(run.folder)[0] for run in (straight, again)))
    for file in ("model/model.safetensors", "best/model.safetensors", "validation/step-00000002.png"):
        assert (straight.folder / file).read_bytes() == (again.folder / file).read_bytes(), file


def test_checkpoints_of_something_else_are_passed_over(fabric: Fabric, tmp_path: Path) -> None:
    """Values of other kinds and shapes, or none, under each key; the trainer ends up as it was."""
    run = make_run(make_recipe(**L1, average=0.9), tmp_path, fabric)  # few tensors: it is read fifty times
    run.begin()
    advance(run.trainer, 1)  # the optimiser's state is there
    run._save()
    good = torch.load(checkpoints(tmp_path)[0], weights_only=True)
    odd = tmp_path / "checkpoints" / "step-00000002.pt"
    others = (None, 3, [1], "word", {"state": {0: {"step": torch.zeros(3)}}, "weight": torch.zeros(3)}, "absent")
    for key in ("model", "optimiser", "average", "best", "skipped", "returns", "random", "step", "recipe"):
        for content in others:
            if (key, content) in [("best", None), ("step", 3), ("returns", 3), ("skipped", [1])]:
                continue  # which may be
            torch.save({k: v for k, v in (good | {key: content}).items() if (k, content) != (key, "absent")}, odd)
            (message,) = run.resume()
            assert re.search(r"step-00000002.pt is damaged \(.+\): going back to the checkpoint before it", message)
    state = run.trainer.state()
    assert_same(state, {key: good[key] for key in state})


def test_validation_is_logged_and_drawn(fabric: Fabric, tmp_path: Path) -> None:
    run = make_run(
        make_recipe(validate_every=2, validate_temperatures=(0.0, 0.9)), tmp_path, fabric, held_out=make_photos(72)
    )
    run.begin()
    run.train()
    events = [event for event in read_log(tmp_path) if event.get("event") == "validation"]
    assert [event["step"] for event in events] == [2, 4]
    for event in events:
        assert {"PSNR", "bits per dimension", "LR-PSNR", "finite"} < event.keys()
        assert event["finite"] == 1
    with Image.open(tmp_path / "validation" / "step-00000004.png") as picture:
        assert picture.width > 4 * 72  # photograph, bicubic, two temperatures
    origin = ncsr.provenance(tmp_path / "validation" / "step-00000004.png")
    assert origin is not None
    assert (origin.picture, origin.temperature, origin.samples) == ("contact sheet", [0.0, 0.9], [0])
    assert (origin.notice, origin.seed) == ("synthetic detail: not for identification", 0)
    assert run.best is not None
    best = min(events, key=lambda event: event["bits per dimension"])
    assert run.best == {"step": best["step"], "score": -best["bits per dimension"]}


# runs that go wrong


def _spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int], times: int = 99) -> list[int]:
    """Make the loss of these steps not finite, the first `times` times; returns the steps that were spoilt."""
    spoilt: list[int] = []
    backward = Trainer._backward

    def spoilt_backward(trainer: Trainer, batch: Batch) -> Tensor:
        if trainer.step in steps and spoilt.count(trainer.step) < times:
            spoilt.append(trainer.step)
            batch = batch._replace(hr=torch.full_like(batch.hr, float("nan")))
        return backward(trainer, batch)

    monkeypatch.setattr(Trainer, "_backward", spoilt_backward)
    return spoilt


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, {1})
    run = make_run(make_recipe(), tmp_path, fabric)
    run.begin()
    run.train()
    assert run.trainer.step == 4
    assert run.trainer.skipped == [1]
    steps = [event for event in read_log(tmp_path) if "event" not in event]
    assert [event["taken"] for event in steps] == [True, False, True, True]
    assert all(p.isfinite().all() for p in run.trainer.model.parameters())
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000004", "00000000"]  # none after a skipped step
    assert "skipped" in next(event["event"] for event in read_log(tmp_path) if "event" in event)


def test_too_many_skipped_steps_return_to_the_last_checkpoint(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = _spoil(monkeypatch, {3, 4, 5}, times=1)
    run = make_run(make_recipe(steps=8, max_skipped_steps=2, schedule="constant", warmup=0), tmp_path, fabric)
    run.begin()
    run.train()
    assert spoilt == [3, 4, 5]
    assert run.trainer.rollbacks == 1
    rates = {event["step"]: event["rate"] for event in read_log(tmp_path) if "rate" in event}
    assert rates[2] == 2e-3
    assert rates[3] == rates[8] == 1e-3  # step 3 came again, at half the rate
    assert any("returned to the last checkpoint" in event.get("event", "") for event in read_log(tmp_path))
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000008", "00000006", "00000004"]
    assert torch.load(checkpoints(tmp_path)[0], weights_only=True)["returns"] == 1


def test_a_run_that_keeps_failing_stops_with_a_report(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = _spoil(monkeypatch, {3, 4, 5})
    run = make_run(make_recipe(steps=8, max_skipped_steps=2, max_rollbacks=2), tmp_path, fabric)
    run.begin()
    with pytest.raises(Diverged, match="the run was stopped at step 6: 3 of the last steps were not finite") as caught:
        run.train()
    assert spoilt == [3, 4, 5] * 3
    assert "after 2 rollbacks" in str(caught.value)
    assert "largest latent" in str(caught.value)
    assert checkpoints(tmp_path)[0].name == "step-00000002.pt"


# processes


@pytest.mark.slow
def test_killed_at_any_moment(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more: list[str] = []
    for attempt in range(3):
        process = start_ncsr(train_command(recipe, run, "--set", "checkpoint_every=1", *more))
        before = len(read_steps(run))
        wait_until(process, lambda before=before: len(read_steps(run)) > before + 3)  # type: ignore[misc]
        time.sleep(0.013 * attempt)
        process.kill()
        process.communicate()
        state, damaged = read_newest(run)
        assert damaged == []
        assert state["step"] >= read_steps(run)[-1]["step"] - 1
        assert ncsr.load(run / "model").config == TINY
        more = ["--resume"]
    newest = checkpoints(run)[0]
    newest.write_bytes(newest.read_bytes()[:5000])
    process = start_ncsr(train_command(recipe, run, "--set", "checkpoint_every=1", "--resume"))
    wait_until(process, lambda: newest.stat().st_size > 5000)  # made again
    process.terminate()
    assert re.search(rf"{newest} is damaged \(.+\): going back to the checkpoint before it", process.communicate()[1])


def test_full_disk_loses_nothing_that_was_saved(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = ("--set", "steps=6")
    with no_larger_files(10_000):
        result = ncsr_(*train_command(recipe, run, *short))
    assert result.code == 2, result.err
    assert "cannot write the checkpoint" in result.err
    assert "make room there, then resume" in result.err
    assert "Traceback" not in result.err
    assert not checkpoints(run)
    assert ncsr_(*train_command(recipe, run, *short)).code == 0
    checkpoints(run)[0].unlink()  # as if it had not come to the end
    before, model = read_newest(run)[0], ncsr.load(run / "model").state_dict()
    with no_larger_files(10_000):
        result = ncsr_(*train_command(recipe, run, *short, "--resume"))
    assert result.code == 2, result.err
    assert "cannot write to the run folder" in result.err  # the model as of the checkpoint comes first
    assert "make room there, then resume" in result.err
    after = read_newest(run)[0]
    assert 0 < after["step"] == before["step"] < 6
    assert ncsr.load(run / "model").state_dict().keys() == model.keys()
    assert not set(run.rglob(".*"))


def test_divergence_ends_with_a_report(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    wild = [
        part
        for value in ("learning_rate=1.0e+30", "max_skipped_steps=2", "max_rollbacks=1")
        for part in ("--set", value)
    ]
    result = ncsr_(*train_command(recipe, tmp_path / "run", *wild))
    assert result.code == 1, result.err
    assert "ncsr: the run was stopped at step" in result.err
    assert "first layer whose output is not finite: flow.levels.0." in result.err
    assert "returned to the last checkpoint" in result.err
    assert "Traceback" not in result.err
    assert all(value.isfinite().all() for value in read_newest(tmp_path / "run")[0]["model"].values())
