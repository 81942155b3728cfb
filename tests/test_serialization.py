"""Model files: what is saved is what is loaded, damaged ones are told, and nobody sees half of one."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ncsr
from ncsr import NCSR, InputError, ModelConfig
from ncsr.pretrained.load import bundled_models, load
from ncsr.serialization import read_checkpoint, read_model
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


def test_equal_models_are_equal_files(model: NCSR, tmp_path: Path) -> None:
    """Whatever the process: safetensors writes metadata of several keys in an order that is random."""
    for number in range(16):
        model.save(tmp_path / str(number))
    assert len({(tmp_path / str(number) / "model.safetensors").read_bytes() for number in range(16)}) == 1


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


# Files whose content has changed


def test_a_changed_file_is_told(model: NCSR, tmp_path: Path) -> None:
    """A changed bit anywhere, or 4 KiB of zeros, as disks and networks leave them: never another model."""
    model.save(tmp_path)
    (tmp_path / "config.json").unlink()
    path = tmp_path / "model.safetensors"
    whole, stream = path.read_bytes(), random.Random(0)
    start = 8 + int.from_bytes(whole[:8], "little")
    damaged = [whole[:start] + bytes(4096) + whole[start + 4096 :]]
    for position in [start, len(whole) - 1, *(stream.randrange(len(whole)) for _ in range(60))]:
        damaged.append(whole[:position] + bytes([whole[position] ^ 1 << stream.randrange(8)]) + whole[position + 1 :])
    expected = model.state_dict()
    for content in damaged:
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            config, weights = read_model(tmp_path)  # where nothing but a name of the metadata changed
            assert config == model.config
            assert all(torch.equal(weights[key], value) for key, value in expected.items())
    path.write_bytes(damaged[0])
    with pytest.raises(
        InputError, match=r"model\.safetensors is damaged: its content is not what its checksum says; copy"
    ):
        load(path)


def test_files_of_before_the_checksum_open(model: NCSR, tmp_path: Path) -> None:
    metadata = {"format": "pt", "config": model.config.model_dump_json()}
    save_file(model.state_dict(), tmp_path / "model.safetensors", metadata=metadata)
    assert same(load(tmp_path / "model.safetensors", "cpu"), model)
    changed = model.config.model_copy(update={"temperature": 0.3})
    (tmp_path / "config.json").write_text(changed.model_dump_json())
    assert load(tmp_path, "cpu").config == changed


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_have_a_checksum(name: str) -> None:
    with safe_open(Path(ncsr.__file__).parent / "weights" / name / "model.safetensors", framework="pt") as file:
        assert len(file.metadata()["sha256"]) == 64
    load(name, "cpu")  # and it is theirs


def test_weights_beyond_float16_are_not_stored_in_it(model: NCSR, tmp_path: Path) -> None:
    with torch.no_grad():
        model.encoder.first.weight[0, 0, 0, 0] = 1e5
    with pytest.raises(
        InputError, match=r"encoder\.first\.weight holds numbers too large for float16: save .* without half"
    ):
        model.save(tmp_path / "model", half=True)
    assert not list(tmp_path.iterdir())


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


def test_unknown_precision(model: NCSR) -> None:
    with pytest.raises(InputError, match="precision must be one of auto, float32, tf32, bfloat16, got 'half'"):
        NCSR(model.config, "half")  # type: ignore[arg-type]


# Checkpoints of other packages

STATE = {"conv_first.weight": torch.ones(2, 3), "conv_first.bias": torch.arange(2.0)}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {f"module.{key}": value for key, value in STATE.items()},
        {"params_ema": STATE, "params": {"x": torch.zeros(1)}},
        {"params": STATE},
        {"state_dict": {f"module.{key}": value for key, value in STATE.items()}, "epoch": 3},
    ],
    ids=["plain", "module", "params_ema", "params", "state_dict"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_prefixes_and_wrappers_come_off(content: dict[str, Any], zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "reference.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    weights = read_checkpoint(path)
    assert weights.keys() == STATE.keys()
    assert all(torch.equal(value, STATE[key]) for key, value in weights.items())


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], torch.zeros(1), 3, {"a": 1}, {"a": {"b": torch.zeros(1)}}])
def test_files_without_a_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "reference.pth")
    with pytest.raises(InputError, match="holds no state dict: expected names and tensors"):
        read_checkpoint(tmp_path / "reference.pth")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*nothing\.pth"):
        read_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(InputError, match="not a checkpoint"):
        read_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*: File name too long"):
        read_checkpoint(tmp_path / ("x" * 300))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "reference.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    stream = random.Random(0)
    damaged = [b"", b"text", b"\x80\x02", stream.randbytes(100)]
    damaged += [whole[:length] for length in range(1, len(whole), len(whole) // 20)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_checkpoint(path)
    for _ in range(100):  # a changed byte may do no harm, but never ends in another error
        position = stream.randrange(len(whole))
        path.write_bytes(whole[:position] + stream.randbytes(1) + whole[position + 1 :])
        with contextlib.suppress(InputError):
            read_checkpoint(path)


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_in_a_file_does_not_run(kind: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "reference.pth", tmp_path / "made"
    content = STATE | {"attack": Attack(folder)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InputError, match="not a checkpoint that can be read safely: expected a file of tensors only"):
        read_checkpoint(path)
    assert not folder.exists()
    if kind == "pickle":
        pickle.loads(path.read_bytes())
        assert folder.exists()  # it would have
