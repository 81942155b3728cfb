"""From a name to a model: what is found, and one sentence for what is not."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import ncsr
from ncsr.cli.options import load_model
from ncsr.pretrained.load import default_model

Refused = Callable[..., None]


@pytest.fixture
def refused() -> Refused:
    """Asserts that a model is not loaded, for this reason."""

    def check(model: str | Path, reason: str) -> None:
        with pytest.raises(ncsr.InputError, match=reason):
            ncsr.load(model, "cpu")

    return check


def test_unknown_models(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.pretrained.load.bundled_models", lambda: ["x4-small"])
    refused("x4-smal", r"no model 'x4-smal', .*did you mean x4-small\?")
    refused("zebra", r"no model 'zebra', .*bundled models: x4-small")
    refused(tmp_path, r"no model in .*config\.json and model\.safetensors")
    (tmp_path / "photo.png").write_bytes(b"a photograph")
    refused(tmp_path / "photo.png", r"cannot read the model .*photo\.png")
    with pytest.raises(ncsr.InputError, match="the scale must be 4 or 8, got 3; factor"):
        load_model(None, 3, "cpu", "auto")
    with pytest.raises(ncsr.InputError, match="no bundled model enlarges by 8: give one with -m"):
        load_model(None, 8, "cpu", "auto")


def test_damaged_models(refused: Refused, tiny_model_folder: Path, tmp_path: Path) -> None:
    weights = (tiny_model_folder / "model.safetensors").read_bytes()
    config = json.loads((tiny_model_folder / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(tmp_path, r"cannot read the model .*again")
    (tmp_path / "model.safetensors").write_bytes(weights)
    for changed, reason in (
        ({**config, "scale": 5}, r"configuration of .* is not valid"),
        ({**config, "colour": 1}, r"configuration of .* is not valid"),
        ({**config, "encoder": {**config["encoder"], "features": 16}}, r"do not fit their configuration"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(changed))
        refused(tmp_path, reason)
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, r"configuration of .* is not valid")


def test_a_bundled_name_goes_before_a_folder_of_that_name(
    tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run's folder that was named by its recipe."""
    monkeypatch.chdir(tmp_path)
    tiny_model.save("x4-small")
    assert ncsr.load("x4-small", "cpu").config != tiny_model.config
    for own in ("./x4-small", Path("x4-small")):
        assert ncsr.load(own, "cpu").config == tiny_model.config


def test_default_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (default_model(4), default_model(8)) == ("x4", "x8-small")
    functions = [value for name in ncsr.__all__ if inspect.isfunction(value := getattr(ncsr, name))]
    taken = [inspect.signature(function).parameters.get("model") for function in functions]
    assert {parameter.default for parameter in taken if parameter} <= {None, default_model(4), inspect.Parameter.empty}
    for name in ("x4-small", "x8-small", "x8"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    monkeypatch.setattr("ncsr.pretrained.load.BUNDLED", tmp_path)
    assert (default_model(4), default_model(8)) == ("x4-small", "x8")


def test_unknown_names() -> None:
    with pytest.raises(ncsr.InputError, match="no model 'x5-small'"):
        ncsr.load("x5-small")
