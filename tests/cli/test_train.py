"""`ncsr train` in one process: what it prints and writes, and one sentence for whatever is wrong."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from ncsr.runtime.locks import exclusive
from ncsr.training.checkpoints import checkpoints
from tests.conftest import TINY, Command, scene8


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of three steps, with photographs in the folder `data`."""
    (tmp_path / "data" / "inner").mkdir(parents=True)
    Image.fromarray(scene8(24, 32, seed=1)).save(tmp_path / "data" / "inner" / "photo.png")
    values = {
        "objective": "likelihood",
        "model": TINY.model_dump(mode="json"),
        "steps": 3,
        "batch": 2,
        "crop": 16,
        "noise": 0.05,
        "checkpoint_every": 2,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "recipe.yaml"


def test_train_then_upscale(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    result = ncsr_("train", recipe, "--data", tmp_path / "data", "-o", tmp_path / "run")
    assert result.code == 0
    assert result.paths == [tmp_path / "run" / "model"]
    assert "step 3 of 3: " in result.err
    assert "bits/dim" in result.err
    photo = tmp_path / "photo.png"
    Image.fromarray(scene8(6, 8)).save(photo)
    enlarged = ncsr_("upscale", photo, "-m", tmp_path / "run" / "model", "-o", tmp_path / "out", "-n", 1, "-t", 0)
    assert enlarged.code == 0


def test_train_an_encoder_then_the_flow_on_it(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    sets = ("objective=l1", "noise=0", "model.flow=null", "steps=2")
    how = [part for change in sets for part in ("--set", change)]
    result = ncsr_("train", recipe, *data, "-o", tmp_path / "rrdb", *how)
    assert result.code == 0
    assert "L1" in result.err
    init = ("--init", tmp_path / "rrdb" / "model", "--set", "encoder_rate=0", "--set", "steps=1")
    assert ncsr_("train", recipe, *data, "-o", tmp_path / "flow", *init).code == 0
    rrdb, flow = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("rrdb", "flow"))
    assert rrdb.keys() < flow.keys()
    for key, value in rrdb.items():
        assert torch.equal(value, flow[key]), key


def test_start_step_goes_on_in_the_schedule(
    ncsr_: Command, recipe: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    train = ("train", recipe, "--data", tmp_path / "data", "-o", tmp_path / "run")
    ncsr_(*train, "--start-step", 2).failed("--start-step 2 goes with --init MODEL")
    ncsr_(*train, "--start-step", 3, "--init", tiny_model_folder).failed("not before the recipe's end, step 3")
    assert ncsr_(*train, "--start-step", 2, "--init", tiny_model_folder).code == 0
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-00000003.pt", "step-00000002.pt"]


def test_validation_photographs(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "held out"
    held_out.mkdir()
    Image.fromarray(scene8(72, 80)).save(held_out / "photo.png")
    train = ("train", recipe, "--data", tmp_path / "data", "-o", tmp_path / "run")
    result = ncsr_(*train, "--validate", held_out)
    assert result.code == 0
    assert "step 3: validation: PSNR" in result.err
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()
    assert (tmp_path / "run" / "validation" / "step-00000003.png").exists()


def test_dry_run(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    result = ncsr_("train", recipe, "--dry-run", "--set", "batch=4", "--device", "cpu")
    assert result.code == 0
    assert result.err == "taking steps of a few crops; 4 of 16 x 16 pixels are in a step of this recipe\n"
    text, _, figures = result.out.partition("\n\n")
    assert yaml.safe_load(text)["batch"] == 4
    for what in (
        "parameters: 0.18 million, 0.03",
        "memory: ",
        "GiB per process",
        "s per step of 4 crops (1 x cpu, ",
        " s in all, validation and checkpoints not included",
    ):
        assert what in figures
    assert not (tmp_path / "run").exists()


def test_the_list_of_recipes(ncsr_: Command) -> None:
    names = ncsr_("train", "list").out.split()
    wanted = {"rrdb-x4", "rrdb-x8", "ncsr-x4", "ncsr-x8", "ncsr-x4-extra", "srflow-x4", "srflow-x8", "ncsr-x4-std"}
    wanted |= {
        "ncsr-x4-no-layer",
        "ncsr-x4-all-levels",
        "ncsr-x4-hr-noise",
        "ncsr-x4-published",
        "x4-small",
        "x8-small",
    }
    assert wanted <= set(names)
    result = ncsr_("train", "--list")
    assert (result.code, result.err) == (0, "")
    head, *lines = result.out.splitlines()
    assert head.split() == ["recipe", "what", "it", "is", "time", "needs"]
    assert [line.split()[0] for line in lines] == names
    columns = [head.index(word) for word in ("what", "time", "needs")]
    assert all(line[at - 2 : at] == "  " and line[at] != " " for line in lines for at in columns)


def test_train_with_wrong_input(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "file").write_text("")
    data, run = tmp_path / "data", tmp_path / "run"
    train = ("train", recipe, "--data", data, "-o")
    ncsr_("train", "x4-smal", "--data", data, "-o", run).failed(r"no recipe 'x4-smal': did you mean x4-small\?")
    ncsr_(*train, run, "--cache", "inf").failed("the cache must be a finite number of GiB, got inf")
    ncsr_("train", recipe).failed(r"training needs --data \(photographs\) and -o")
    ncsr_(*train, run, "--set", "stepz=3").failed(r"unknown key 'stepz': the nearest known one is 'steps'")
    ncsr_(*train, run, "--set", "model.encoder.block=3").failed(r"nearest known one is 'blocks'")
    ncsr_(*train, run, "--set", "steps").failed(r"--set takes KEY=VALUE, got 'steps'")
    ncsr_(*train, run, "--set", "steps=[1").failed(r"--set 'steps': '\[1' is not a YAML value")
    ncsr_(*train, run, "--set", "steps=0").failed(r"steps: .* got 0")
    ncsr_(*train, run, "--set", "accumulate=3").failed(r"batch \(2\) must be a multiple of accumulate \(3\)")
    ncsr_(*train, run, "--set", "folders=2").failed(r"trains on 2 sources of photographs, got 1: add --data")
    ncsr_(*train, run, "--resume").failed(r"nothing to resume in .*: no checkpoint in")
    ncsr_(*train, run, "--init", "no-such-model").failed(r"no model 'no-such-model'")
    ncsr_(*train, run, "--device", "toaster").failed(r"no device 'toaster' on this machine")
    ncsr_(*train, run, "--set", "crop=64").failed(r"no photograph of at least 64 x 64 pixels")
    ncsr_(*train, run, "--validate", tmp_path / "none").failed(r"holds no photographs")
    ncsr_("train", recipe, "--data", tmp_path / "missing", "-o", run).failed(r"missing")
    ncsr_("train", recipe, "--data", tmp_path / "none", "-o", run).failed(r"holds no photographs")
    ncsr_(*train, tmp_path / "file" / "run").failed(r"cannot make the folder .*file is a file")
    assert not run.exists()


def test_train_refuses_another_recipe(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    train = ("train", recipe, "--data", tmp_path / "data", "-o", tmp_path / "run", "--set")
    assert ncsr_(*train, "steps=1").code == 0
    ncsr_(*train, "steps=1").failed(r"holds a run already: give --resume to go on with it, or another -o")
    ncsr_(*train, "steps=2", "--resume").failed(
        r"trained with another recipe \(steps: 1 -> 2\): resume with the same one, as it does "
        r"if RECIPE and --set are left out, or start another run from its model: --init .*model --start-step 1$"
    )
    for path in checkpoints(tmp_path / "run"):
        path.write_bytes(b"")
    ncsr_(*train, "steps=1", "--resume").failed(r"nothing to resume in .*: every checkpoint there is damaged")


def test_resuming_takes_the_recipe_of_the_run(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    run = ("--data", tmp_path / "data", "-o", tmp_path / "run")
    assert ncsr_("train", recipe, *run, "--set", "steps=2", "--set", "checkpoint_every=1").code == 0
    made = checkpoints(tmp_path / "run")
    made[0].unlink()  # as if it had been stopped after the first step
    recipe.unlink()
    result = ncsr_("train", *run, "--resume")
    assert result.code == 0
    assert checkpoints(tmp_path / "run") == made
    ncsr_("train", *run, "--resume", "--set", "steps=3").failed(r"another recipe \(steps: 2 -> 3\)")
    ncsr_("train", "--data", tmp_path, "-o", tmp_path / "data", "--resume").failed("data holds no recipe.yaml")


def test_resuming_with_other_photographs_is_told(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "data" / "run"  # whose pictures are no photographs
    train = ("train", recipe, "--data", data, "-o", run, "--set", "steps=1", "--set", "validate_temperatures=[0]")
    held_out = tmp_path / "held out"
    held_out.mkdir()
    Image.fromarray(scene8(72, 80)).save(held_out / "photo.png")
    assert ncsr_(*train, "--validate", held_out).code == 0
    (run / "checkpoints" / ".ncsr-tmp-0123456789ab.pt").touch()  # of a process that was killed
    result = ncsr_(*train, "--validate", held_out, "--resume")
    assert (result.code, result.err) == (0, "")
    assert not set(run.rglob(".*"))
    Image.fromarray(scene8(24, 40)).save(data / "another.png")
    ended = ncsr_(*train, "--resume")
    assert (ended.code, ended.err) == (0, "")  # nothing is left to do, with whatever photographs
    (Path(shutil.copytree(run, tmp_path / "stopped")) / "checkpoints" / "step-00000001.pt").unlink()
    other = ncsr_("train", "--data", data, "-o", tmp_path / "stopped", "--resume")
    assert other.code == 0
    first, second = other.err.splitlines()[:2]
    assert re.match(r"--data has other photographs .* \(1 photographs, \w+; now 2 photographs, \w+\): it", first)
    assert re.match(r"--validate has .* \(1 photographs, \w+; now none\): from here on nothing is measured$", second)


def test_what_is_too_small_to_validate_is_told_apart(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    Image.fromarray(scene8(72, 80)).save(data / "large.png")
    Image.fromarray(scene8(20, 3)).save(data / "thin.png")
    result = ncsr_("train", recipe, "--data", data, "--validate", data, "-o", tmp_path / "run", "--set", "steps=1")
    assert result.code == 0
    told = [line for line in result.err.splitlines() if line.startswith("left out")]
    assert any(re.fullmatch(r"left out: .*thin.png: 3 x 20 pixels, smaller than \d+ x \d+", line) for line in told)
    assert any(re.fullmatch(r"left out of --validate: .*pixels, smaller than 64 x 64", line) for line in told)


def test_two_processes_do_not_train_in_one_folder(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = ("train", recipe, "--data", tmp_path / "data", "-o", run, "--set", "steps=1")
    run.mkdir()
    with exclusive(run):
        ncsr_(*train).failed(rf"{run} is being written by process \d+: wait until that ends, or choose another -o")
        assert not checkpoints(run)
    assert ncsr_(*train).code == 0
    with exclusive(run):
        ncsr_(*train, "--resume").failed("is being written by process")


def test_a_log_of_something_else(ncsr_: Command, recipe: Path, tmp_path: Path) -> None:
    log = tmp_path / "run" / "log.jsonl"
    train = ("train", recipe, "--data", tmp_path / "data", "-o", log.parent, "--set", "steps=1")
    assert ncsr_(*train).code == 0
    whole = log.read_bytes()
    log.write_bytes(b'no JSON\n[1]\n3\n{"step": "x"}\n{"a": 1}\n\xff\n' + b"[" * 9999 + b"\n" + whole + b'{"step')
    result = ncsr_(*train, "--resume")
    assert (result.code, result.err) == (0, f"{log}: dropped 7 lines that are no figures of a step\n")
    assert log.read_bytes() == whole


def test_train_without_its_packages(
    ncsr_: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    for name in [name for name in sys.modules if name.startswith("ncsr.training.")]:
        monkeypatch.delitem(sys.modules, name)
    result = ncsr_("train", recipe, "--data", tmp_path / "data", "-o", tmp_path / "run")
    result.failed(r"training needs more packages: pip install 'ncsr\[train\]'")
