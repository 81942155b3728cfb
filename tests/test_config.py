"""The configuration: the published values by default, and nothing that makes no sense."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ncsr import NCSR
from ncsr.config import Condition, EncoderConfig, FlowConfig, ModelConfig
from tests.models import PUBLISHED_X4, PUBLISHED_X8, tiny_config


def test_published_x4() -> None:
    config = PUBLISHED_X4
    assert config.flow is not None
    assert config.model_dump() == {
        "scale": 4,
        "encoder": {"features": 64, "growth": 32, "blocks": 23, "trunk_skip": "last", "dense_block": "esrgan"},
        "flow": {
            "levels": 3,
            "steps": 16,
            "hidden": 64,
            "stacked_blocks": (1, 8, 15, 22),
            "condition": "noise",
            "noise_steps": (0, 16, 16),
            "scale_bound": "sigmoid",
        },
        "temperature": 0.9,
    }


def test_published_x8() -> None:
    config = PUBLISHED_X8
    assert config.flow is not None
    assert (config.scale, config.flow.levels, config.flow.steps) == (8, 4, 20)
    assert (config.flow.noise_steps, config.flow.stacked_blocks) == ((0, 0, 16, 16), (1, 8, 15, 22))


@pytest.mark.parametrize(
    "config",
    [
        PUBLISHED_X4,
        PUBLISHED_X8,
        ModelConfig(flow=None, encoder=EncoderConfig(dense_block="esrgan+", trunk_skip="first"), temperature=0),
        ModelConfig(flow=FlowConfig(condition="none", noise_steps=(0, 0, 0), scale_bound="atan")),
        ModelConfig(scale=8, flow=FlowConfig(levels=2, condition="std", noise_steps=(1, 0), steps=1)),
    ],
)
def test_json_round_trip(config: ModelConfig) -> None:
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"scale": 3}, "4 or 8"),
        ({"temperature": -0.1}, "greater than or equal to 0"),
        ({"scael": 4}, "scael"),
        ({"encoder": {"feature": 64}}, "feature"),
        ({"encoder": {"features": 0}}, "features"),
        ({"encoder": {"blocks": 0}}, "blocks"),
        ({"encoder": {"growth": -1}}, "growth"),
        ({"encoder": {"trunk_skip": "middle"}}, "'last' or 'first'"),
        ({"encoder": {"dense_block": "dense"}}, "'esrgan' or 'esrgan\\+'"),
        ({"flow": {"step": 4}}, "step"),
        ({"flow": {"hidden": 0}}, "hidden"),
        ({"flow": {"levels": 1, "noise_steps": [4]}}, "levels"),
        ({"flow": {"noise_steps": [0, 16]}}, r"noise_steps needs one number per level \(3\), got \[0, 16\]"),
        ({"flow": {"noise_steps": [0, 16, 17]}}, r"noise_steps must lie in 0\.\.16 \(steps\), got \[0, 16, 17\]"),
        ({"flow": {"noise_steps": [0, -1, 16]}}, r"noise_steps must lie in 0\.\.16"),
        ({"flow": {"condition": "none"}}, r"condition 'none' contradicts noise_steps \[0, 16, 16\]"),
        ({"flow": {"noise_steps": [0, 0, 0]}}, r"condition 'noise' contradicts noise_steps \[0, 0, 0\]"),
        ({"flow": {"condition": "std", "noise_steps": [0, 0, 0]}}, "condition 'std' contradicts"),
        ({"flow": {"condition": "image"}}, "'noise', 'std' or 'none'"),
        ({"flow": {"scale_bound": "exp"}}, "'sigmoid' or 'atan'"),
        ({"flow": {"levels": 4, "noise_steps": [0, 0, 1, 1]}}, "levels must be at most 3 at scale 4, got 4"),
        (
            {"scale": 8, "flow": {"levels": 5, "noise_steps": [0, 0, 1, 1, 1]}},
            "levels must be at most 4 at scale 8, got 5",
        ),
        ({"encoder": {"blocks": 8}}, r"stacked_blocks must lie in 0\.\.7 \(blocks\), got \[8, 15, 22\]"),
        ({"flow": {"stacked_blocks": [-1, 3]}}, r"stacked_blocks must lie in 0\.\.22 \(blocks\), got \[-1\]"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ModelConfig.model_validate(values)


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ModelConfig().scale = 8  # type: ignore[misc]


# Limits


@pytest.mark.parametrize("condition", ["noise", "std", "none"])
@pytest.mark.parametrize("scale", [4, 8])
def test_parameters_of_flows(scale: int, condition: Condition) -> None:
    config = tiny_config(scale, condition)
    assert config.parameters == sum(parameter.numel() for parameter in NCSR(config).parameters())


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("dense_block", ["esrgan", "esrgan+"])
def test_parameters_of_encoders(scale: int, dense_block: str) -> None:
    values = {"features": 5, "growth": 3, "blocks": 2, "dense_block": dense_block}
    config = ModelConfig.model_validate({"scale": scale, "encoder": values, "flow": None})
    assert config.parameters == sum(parameter.numel() for parameter in NCSR(config).parameters())


def test_limits_can_be_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {"encoder": {"features": 5000, "blocks": 300}, "flow": None}
    with pytest.raises(ValidationError, match="NCSR_UNLIMITED=1 in the environment lifts the limit"):
        ModelConfig.model_validate(values)
    monkeypatch.setenv("NCSR_UNLIMITED", "1")
    assert ModelConfig.model_validate(values).parameters > 10**9
