"""Training as users run it: real processes, and what happens when they are stopped, killed or short of space."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import ncsr
from ncsr.training.checkpoints import checkpoints, read_newest
from tests.conftest import TINY, Command, scene8

resource = pytest.importorskip("resource")  # file-size limits and signals as Unix has them

_ENDLESS = 10**6
_ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe, with photographs in the folder `data`."""
    (tmp_path / "data" / "inner").mkdir(parents=True)
    Image.fromarray(scene8(24, 32, seed=1)).save(tmp_path / "data" / "inner" / "photo.png")
    values = {
        "objective": "likelihood",
        "model": TINY.model_dump(mode="json"),
        "steps": _ENDLESS,
        "batch": 2,
        "crop": 16,
        "noise": 0.05,
        "schedule": "constant",
        "checkpoint_every": 3,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "recipe.yaml"


def _command(recipe: Path, run: Path, *more: str) -> list[str]:
    return ["train", str(recipe), "--data", str(recipe.parent / "data"), "-o", str(run), "--device", "cpu", *more]


def _start(arguments: list[str], processes: int = 1, **how: Any) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "ncsr", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_ENV, **how)


def _wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _steps(run: Path) -> list[dict[str, Any]]:
    lines = (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").exists() else []
    return [json.loads(line) for line in lines if line.endswith("}") and "event" not in line]


def _no_more_than(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_signals_save_and_say_how_to_go_on(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    process = _start(_command(recipe, run))
    _wait(process, lambda: len(_steps(run)) >= 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    state, damaged = read_newest(run)
    assert state["step"] == len(_steps(run))
    assert damaged == []
    said = next(line for line in err.splitlines() if line.startswith("saved; go on with: "))
    again = shlex.split(said.partition(": ")[2])
    assert again == ["ncsr", *_command(recipe, run), "--resume"]
    process = _start(again[1:])
    _wait(process, lambda: len(_steps(run)) > state["step"] + 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, err
    assert "Traceback" not in err
    assert [step["step"] for step in _steps(run)] == list(range(1, len(_steps(run)) + 1))
    assert read_newest(run)[0]["step"] == len(_steps(run))


def test_killed_at_any_moment(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more: list[str] = []
    for attempt in range(3):
        process = _start(_command(recipe, run, "--set", "checkpoint_every=1", *more))
        before = len(_steps(run))
        _wait(process, lambda before=before: len(_steps(run)) > before + 3)  # type: ignore[misc]
        time.sleep(0.013 * attempt)
        process.kill()
        process.communicate()
        state, damaged = read_newest(run)
        assert damaged == []
        assert state["step"] >= _steps(run)[-1]["step"] - 1
        assert ncsr.load(run / "model").config == TINY
        more = ["--resume"]
    newest = checkpoints(run)[0]
    newest.write_bytes(newest.read_bytes()[:5000])
    process = _start(_command(recipe, run, "--set", "checkpoint_every=1", "--resume"))
    _wait(process, lambda: newest.stat().st_size > 5000)  # made again
    process.terminate()
    assert f"{newest} is damaged: going back to the checkpoint before it" in process.communicate()[1]


def test_full_disk_loses_nothing_that_was_saved(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = ("--set", "steps=6")
    process = _start(_command(recipe, run, *short), preexec_fn=_no_more_than(10_000))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "cannot write the checkpoint" in err
    assert "make room there, then resume" in err
    assert "Traceback" not in err
    assert not checkpoints(run)
    assert ncsr_(*_command(recipe, run, *short)).code == 0
    checkpoints(run)[0].unlink()  # as if it had not come to the end
    before, model = read_newest(run)[0], ncsr.load(run / "model").state_dict()
    process = _start(_command(recipe, run, *short, "--resume"), preexec_fn=_no_more_than(10_000))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "cannot write to the run folder" in err  # the model as of the checkpoint comes first
    assert "make room there, then resume" in err
    after = read_newest(run)[0]
    assert 0 < after["step"] == before["step"] < 6
    assert ncsr.load(run / "model").state_dict().keys() == model.keys()
    assert not set(run.rglob(".*"))


@pytest.mark.parametrize("more", [(), ("--set", "encoder_frozen=0.5", "--set", "average=0.9", "--set", "accumulate=2")])
def test_two_processes_train_as_one(ncsr_: Command, recipe: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    common = ("--set", "steps=20", "--set", "warmup=20", "--set", "batch=4", "--set", "precision=float32", *more)
    runs = tmp_path / "one", tmp_path / "two"
    process = _start(_command(recipe, runs[1], *common), 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the others have: Adam's first steps go by the sign of what is zero but for rounding
    try:
        assert ncsr_(*_command(recipe, runs[0], *common)).code == 0
    finally:
        torch.set_num_threads(threads)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    one, two = ([step["loss"] for step in _steps(run)] for run in runs)
    assert len(one) == len(two) == 20
    assert one[0] != one[-1]
    assert two == pytest.approx(one, abs=1e-5)
    single, double = (ncsr.load(run / "model").state_dict() for run in runs)
    for key, value in single.items():
        # As a whole: where a gradient is all but zero, Adam's steps go by the sign of its rounding.
        assert (double[key].double() - value.double()).norm() <= 1e-3 * value.double().norm() + 1e-3, key


def test_divergence_ends_with_a_report(recipe: Path, tmp_path: Path) -> None:
    wild = [part for value in ("learning_rate=1.0e+30", "patience=2", "returns=1") for part in ("--set", value)]
    process = _start(_command(recipe, tmp_path / "run", *wild))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "ncsr: the run was stopped at step" in err
    assert "first layer whose output is not finite: flow.levels.0." in err
    assert "returned to the last checkpoint" in err
    assert "Traceback" not in err
    assert all(value.isfinite().all() for value in read_newest(tmp_path / "run")[0]["model"].values())


def test_interrupted_processes_agree(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start(_command(recipe, run), 2)
    _wait(process, lambda: len(_steps(run)) >= 2)
    process.terminate()  # torchrun passes it on to both
    _, err = process.communicate(timeout=100)
    assert "saved; go on with" in err
    assert read_newest(run)[0]["step"] == len(_steps(run))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_on_a_gpu(recipe: Path, tmp_path: Path, precision: str) -> None:
    run = tmp_path / "run"
    more = ("--set", "steps=20", "--set", "average=0.9", "--set", f"precision={precision}")
    arguments = [{"cpu": "cuda"}.get(word, word) for word in _command(recipe, run, *more)]
    _, err = (process := _start(arguments)).communicate(timeout=200)
    assert process.returncode == 0, err
    losses = [step["loss"] for step in _steps(run)]
    assert len(losses) == 20
    assert sum(losses[-5:]) < sum(losses[:5])
    assert ncsr.load(run / "model", "cpu").space(torch.rand(1, 3, 4, 4)).sample(2, seed=0).isfinite().all()
