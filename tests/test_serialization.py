"""Model files: what is saved is what is loaded, damaged ones are told, and nobody sees half of one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ncsr
from ncsr import NCSR, InputError, ModelConfig
from ncsr.pretrained.load import load
from ncsr.serialization import read_model
from tests.models import lively_encoder, lively_model

FILES = ["config.json", "model.safetensors"]


@pytest.fixture
def model() -> NCSR:
    return lively_model(dtype=torch.float32)


def same(model: NCSR, other: NCSR) -> bool:
    state, expected = model.state_dict(), other.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(value, expected[key]) for key, value in state.items())


@pytest.mark.parametrize("make", [lively_model, lively_encoder])
@torch.no_grad()
def test_folder_and_single_file_open_as_what_was_saved(make: Callable[..., NCSR], tmp_path: Path) -> None:
    model = make(dtype=torch.float32)
    model.config = model.config.model_copy(update={"temperature": 0.7})
    folder = tmp_path / "models" / "tiny"
    model.save(folder)
    assert sorted(os.listdir(folder)) == FILES
    alone = tmp_path / "renamed.safetensors"
    alone.write_bytes((folder / "model.safetensors").read_bytes())
    for source in (folder, folder / "model.safetensors", alone):
        loaded = load(source, device="cpu", precision="float32")
        assert loaded.config == model.config
        assert not loaded.training
        assert same(loaded, model)
    lr = torch.rand(1, 3, 4, 5)
    expected = model.space(lr).sample(2, seed=0)
    torch.testing.assert_close(loaded.space(lr).sample(2, seed=0), expected, rtol=0, atol=1e-4)


def test_config_json_is_readable_and_counts(model: NCSR, tmp_path: Path) -> None:
    model.save(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    assert ModelConfig.model_validate(values) == model.config
    path.write_text(json.dumps(values | {"temperature": 0.5}))
    assert load(tmp_path, device="cpu").config.temperature == 0.5


def test_saving_again_replaces(model: NCSR, tmp_path: Path) -> None:
    lively_encoder().save(tmp_path)
    model.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == FILES
    assert same(load(tmp_path, device="cpu"), model)


def test_half_storage_keeps_what_acts_on_the_image(model: NCSR, tmp_path: Path) -> None:
    model.save(tmp_path / "whole")
    model.save(tmp_path / "half", half=True)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    for key, value in model.state_dict().items():
        kept = key.endswith(("conv1x1.weight", "actnorm.bias", "actnorm.log_scale", "actnorm.started"))
        assert stored[key].dtype == (value.dtype if kept else torch.float16), key
        if kept:
            assert torch.equal(stored[key], value), key
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.float32, torch.bool}
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.8 * sizes[1]
    _, weights = read_model(tmp_path / "half")
    assert all(value.dtype in (torch.float32, torch.bool) for value in weights.values())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-6)


def test_float64_model_is_stored_as_it_is_and_opens_in_float32(tmp_path: Path) -> None:
    model = lively_model(dtype=torch.float64)
    model.save(tmp_path)
    assert same(load(tmp_path, device="cpu"), model.float())


# Files that are no models


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def scribble(path: Path) -> None:
    path.write_bytes(b"\xff\xfe scribble")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    save_file({"conv.weight": torch.zeros(3)}, path)


WEIGHTS_DAMAGE = {
    "cut": (cut, "cannot read the model .*model.safetensors.*copy or download it again"),
    "scribble": (scribble, "cannot read the model"),
    "empty": (empty, "cannot read the model"),
    "missing": (Path.unlink, "no model in .*: expected a folder with config.json and model.safetensors"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "no model in"),
}


@pytest.mark.parametrize("damage", WEIGHTS_DAMAGE)
def test_damaged_weights(model: NCSR, damage: str, tmp_path: Path) -> None:
    model.save(tmp_path)
    spoil, reason = WEIGHTS_DAMAGE[damage]
    spoil(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=reason):
        load(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"scale": 5}', b'{"sclae": 4}'])
def test_damaged_configuration(model: NCSR, text: bytes, tmp_path: Path) -> None:
    model.save(tmp_path)
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(InputError, match=r"the configuration of .* is not valid") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_foreign_file(tmp_path: Path) -> None:
    foreign(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"holds no configuration: it is not a model of this package \(see `ncsr conv"):
        load(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_their_configuration(model: NCSR, tmp_path: Path) -> None:
    model.save(tmp_path)
    text = lively_model(condition="std").config.model_dump_json()
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="do not fit their configuration") as error:
        load(tmp_path)
    assert len(str(error.value)) < 300 + len(str(tmp_path))  # not a name for each of their hundreds


def test_folder_that_cannot_be_made(model: NCSR, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot make the folder"):
        model.save(tmp_path / "file" / "model")


# Whole or as it was


@pytest.mark.parametrize("method", ["write_bytes", "write_text"])
@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_failing_save_keeps_the_old_model(
    model: NCSR, method: str, failure: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = lively_encoder(dtype=torch.float32)
    old.save(tmp_path)
    write = getattr(Path, method)

    def fail(path: Path, content: bytes | str, *arguments: object, **more: object) -> None:
        write(path, content[: len(content) // 2], *arguments, **more)
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, fail)
        with pytest.raises(failure):
            model.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == FILES
    assert same(load(tmp_path, device="cpu"), old)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.parametrize("replaced", [0, 1])
def test_killed_save_leaves_the_old_model_or_the_new_one(model: NCSR, replaced: int, tmp_path: Path) -> None:
    old = lively_encoder(dtype=torch.float32)
    old.save(tmp_path)
    child = os.fork()
    if not child:
        replace, done = os.replace, []

        def killed(*paths: Path) -> None:
            if len(done) == replaced:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(replace(*paths))

        os.replace = killed  # type: ignore[assignment]
        model.save(tmp_path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert set(os.listdir(tmp_path)) - set(FILES)  # it had begun
    left, expected = load(tmp_path, device="cpu"), (old, model)[replaced]
    assert left.config == expected.config
    assert same(left, expected)
    model.save(tmp_path)
    assert same(load(tmp_path, device="cpu"), model)


def test_a_bundled_name_goes_before_a_folder_of_that_name(
    model: NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run's folder that was named by its recipe."""
    monkeypatch.chdir(tmp_path)
    model.save("x4-small")
    assert ncsr.load("x4-small", "cpu").config != model.config
    for own in ("./x4-small", Path("x4-small")):
        assert ncsr.load(own, "cpu").config == model.config


def test_unknown_precision(model: NCSR) -> None:
    with pytest.raises(InputError, match="precision must be one of auto, float32, bfloat16, got 'half'"):
        NCSR(model.config, "half")  # type: ignore[arg-type]


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="no model 'x5-small'"):
        ncsr.load("x5-small")
