"""Published checkpoints: keys and shapes tell the architecture, misfits are listed, and no code in a file runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.yardstick import Yardstick
from ncsr import NCSR, InputError
from ncsr.config import EncoderConfig, FlowConfig, ModelConfig
from ncsr.pretrained.published import convert, published_names, read_config
from tests.models import PUBLISHED_X4, PUBLISHED_X8
from tests.parity import CASES, encoder_input, reference_state

Weights = dict[str, Tensor]
BLOCKS = (1, 8, 15, 22)
FLOW = "flowUpsamplerNet.layers"


def tiny() -> tuple[Weights, tuple[int, ...]]:
    """A small published checkpoint, and its noise steps."""
    return reference_state(CASES[0].name), CASES[0].noise_steps


def full(
    scale: int, levels: int, steps: int, condition: str, blocks: int = 23, stack: tuple[int, ...] = BLOCKS
) -> Weights:
    """Keys and shapes of a published flow, without values; like the published, with a noise layer in every step."""
    noise_steps = (0 if condition == "none" else steps,) * levels
    with torch.device("meta"):
        state: Weights = dict(Yardstick(scale, blocks, stack, levels, steps, noise_steps, condition).state_dict())
        return state | {"flowUpsamplerNet.f.0.weight": torch.empty(3, 3), "flowUpsamplerNet.f.2.bias": torch.empty(3)}


def srflow(scale: int, levels: int, blocks: int, stacked_blocks: tuple[int, ...]) -> ModelConfig:
    flow = FlowConfig(
        levels=levels, steps=16, condition="none", noise_steps=(0,) * levels, stacked_blocks=stacked_blocks
    )
    return ModelConfig.model_validate({"scale": scale, "encoder": EncoderConfig(blocks=blocks), "flow": flow})


def empty(config: ModelConfig) -> NCSR:
    """A model without values."""
    with torch.device("meta"):
        return NCSR(config)


def with_std(config: ModelConfig) -> ModelConfig:
    assert config.flow is not None
    return config.model_copy(update={"flow": config.flow.model_copy(update={"condition": "std"})})


PUBLISHED: dict[str, tuple[Callable[[], Weights], ModelConfig]] = {
    "NCSR x4": (lambda: full(4, 3, 16, "noise"), PUBLISHED_X4),
    "NCSR x8": (lambda: full(8, 4, 20, "noise"), PUBLISHED_X8),
    "NCSR x4 of the standard deviation": (lambda: full(4, 3, 16, "std"), with_std(PUBLISHED_X4)),
    "SRFlow x4": (lambda: full(4, 3, 16, "none"), srflow(4, 3, 23, BLOCKS)),
    "SRFlow x8": (lambda: full(8, 4, 16, "none"), srflow(8, 4, 23, (1, 3, 5, 7))),
    "SRFlow x8, faces": (lambda: full(8, 4, 16, "none", 8, (1, 3, 5, 7)), srflow(8, 4, 8, (1, 3, 5, 7))),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures(name: str) -> None:
    make, expected = PUBLISHED[name]
    state = make()
    config = read_config(state)
    assert config == expected
    assert config.flow is not None
    free = re.compile(r"flowUpsamplerNet\.f\.|.*\.fAffine_std\.")
    names = set(published_names(empty(config), state).values())
    assert names <= state.keys()
    assert {key for key in state.keys() - names if not free.match(key)} == set()
    layers = {key.split(".")[2] for key in names if ".fAffine_std." in key}
    assert len(layers) == sum(config.flow.noise_steps)


def test_noise_layers_of_the_last_steps_alone_are_read() -> None:
    state = full(8, 4, 20, "noise")
    config = read_config(state, noise_steps=(0, 0, 3, 5))
    layers = {
        int(key.split(".")[2]) for key in published_names(empty(config), state).values() if ".fAffine_std." in key
    }
    # Per level: squeeze, two transitions, twenty steps; after the first two a split.
    assert layers == {*range(68, 71), *range(89, 94)}


def test_what_the_keys_do_not_tell_can_be_given() -> None:
    state = full(4, 3, 16, "noise")
    config = read_config(state, noise_steps=(1, 2, 3), stacked_blocks=(0, 2, 4, 6), trunk_skip="first")
    assert config.flow is not None
    assert (config.flow.noise_steps, config.flow.stacked_blocks) == ((1, 2, 3), (0, 2, 4, 6))
    assert config.encoder.trunk_skip == "first"
    unknown = full(4, 3, 16, "noise", 23, (1, 2, 3))
    with pytest.raises(InputError, match="which 3 of the 23 blocks are stacked is not in the keys: give --stacked-b"):
        read_config(unknown)
    assert read_config(unknown, stacked_blocks=(1, 2, 3)).flow


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"noise_steps": (0, 1)}, r"noise_steps needs one number per level \(3\), got \[0, 1\]"),
        ({"noise_steps": (0, 1, 3)}, r"noise_steps must lie in 0\.\.2"),
        ({"stacked_blocks": (0, 1, 2, 4)}, r"stacked_blocks must lie in 0\.\.3"),
        ({"stacked_blocks": (0, 1)}, "misshapen: .*fFeatures"),
    ],
)
def test_what_is_given_must_fit(given: dict[str, Any], reason: str) -> None:
    state, noise_steps = tiny()
    with pytest.raises(InputError, match=reason):
        convert(state, **{"noise_steps": noise_steps, **given})


# Encoders


def enlarged(state: Weights, up: str, template: str) -> Weights:
    """The same encoder with one more doubling, its last convolution of this kind copied."""
    return state | {template.format(kind): state[up.format(kind)] for kind in ("weight", "bias")}


def sequential_x8(state: Weights) -> Weights:
    later = {"model.8": "model.11", "model.10": "model.13"}
    kept = {key: value for key, value in state.items() if key.rsplit(".", 1)[0] not in later}
    for old, new in [*later.items(), ("model.6", "model.9")]:
        kept |= {f"{new}.{kind}": state[f"{old}.{kind}"] for kind in ("weight", "bias")}
    return kept


def plain_names(state: Weights) -> Weights:
    """Old ESRGAN keys to new ones."""
    changes = [
        (r"model\.0\.", "conv_first."),
        (r"model\.1\.sub\.2\.", "trunk_conv."),
        (r"model\.1\.sub\.(\d+)\.", r"RRDB_trunk.\1."),
        (r"(conv\d)\.0\.", r"\1."),
        (r"model\.3\.", "upconv1."),
        (r"model\.6\.", "upconv2."),
        (r"model\.8\.", "HRconv."),
        (r"model\.10\.", "conv_last."),
    ]
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in changes:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


@pytest.mark.parametrize(
    ("name", "change", "growth"),
    [
        ("esrgan_tiny", lambda s: enlarged(s, "upconv2.{}", "upconv3.{}"), 8),
        ("basicsr_rrdb_tiny", lambda s: enlarged(s, "conv_up2.{}", "conv_up3.{}"), 8),
        ("esrganplus_tiny", sequential_x8, 32),
    ],
)
@torch.no_grad()
def test_encoders_of_every_style_at_x8(name: str, change: Callable[[Weights], Weights], growth: int) -> None:
    state = reference_state(name)
    assert read_config(state).scale == 4
    model = convert(change(state))
    block = "esrgan+" if "plus" in name else "esrgan"
    encoder = EncoderConfig(features=16, growth=growth, blocks=2, trunk_skip="first", dense_block=block)  # type: ignore[arg-type]
    assert model.config == ModelConfig(scale=8, encoder=encoder, flow=None)
    assert model.space(encoder_input(name)).sample().shape == (1, 1, 3, 80, 104)


@torch.no_grad()
def test_old_esrgan_files_are_the_new_ones() -> None:
    state = {key: value for key, value in reference_state("esrganplus_tiny").items() if "conv1x1" not in key}
    old, new = convert(state), convert(plain_names(state))
    assert old.config == new.config
    assert old.config.encoder.dense_block == "esrgan"
    lr = encoder_input("esrganplus_tiny")
    assert torch.equal(old.encoder(lr), new.encoder(lr))
    plus = convert(reference_state("esrganplus_tiny"))
    assert not torch.allclose(plus.encoder(lr), old.encoder(lr))


@torch.no_grad()
def test_trunk_skip_of_an_encoder() -> None:
    state, lr = reference_state("esrgan_tiny"), encoder_input("esrgan_tiny")
    first, last = convert(state), convert(state, trunk_skip="last")
    assert (first.config.encoder.trunk_skip, last.config.encoder.trunk_skip) == ("first", "last")
    assert not torch.allclose(first.encoder(lr), last.encoder(lr))


@pytest.mark.parametrize("count", [1, 4])
def test_other_scales_are_refused(count: int) -> None:
    state = {key: value for key, value in reference_state("esrgan_tiny").items() if not key.startswith("upconv")}
    for i in range(count):
        state |= {f"upconv{i + 1}.{kind}": state[f"HRconv.{kind}"] for kind in ("weight", "bias")}
    with pytest.raises(InputError, match=f"the encoder enlarges by {2**count}; 4 and 8 are supported"):
        convert(state)


# Keys that do not fit


def test_missing_unexpected_and_misshapen_keys_are_all_listed() -> None:
    state, noise_steps = tiny()
    missing = [f"{FLOW}.4.affine.fAffine.2.weight", "RRDB.RRDB_trunk.1.RDB2.conv4.bias"]
    unexpected = [f"{FLOW}.4.affine.fMore.weight", "RRDB.extra.bias"]
    for key in missing:
        del state[key]
    state |= {key: torch.zeros(1) for key in unexpected}
    misshapen = {f"{FLOW}.3.invconv.weight": torch.zeros(12, 13), "RRDB.HRconv.bias": torch.zeros(65)}
    state |= misshapen
    with pytest.raises(InputError) as error:
        convert(state, noise_steps=noise_steps)
    message = str(error.value)
    assert f"missing: {', '.join(sorted(missing))}" in message
    assert f"unexpected: {', '.join(sorted(unexpected))}" in message
    assert f"{FLOW}.3.invconv.weight (12, 13) instead of (12, 12)" in message
    assert "RRDB.HRconv.bias (65,) instead of (64,)" in message
    assert "\n" not in message


def test_a_missing_skip_of_esrgan_plus_is_listed() -> None:
    state = reference_state("esrganplus_tiny")
    del state["model.1.sub.1.RDB3.conv1x1.weight"]
    with pytest.raises(InputError, match=r"missing: model\.1\.sub\.1\.RDB3\.conv1x1\.weight$"):
        convert(state)


def test_keys_that_no_forward_pass_uses_may_be_absent() -> None:
    state, noise_steps = tiny()
    model = convert(state, noise_steps=noise_steps)
    names = set(published_names(model, state).values())
    lean = convert({key: value for key, value in state.items() if key in names}, noise_steps=noise_steps)
    assert all(torch.equal(value, lean.state_dict()[key]) for key, value in model.state_dict().items())
    used = next(key for key in names if ".fAffine_std." in key)
    del state[used]
    with pytest.raises(InputError, match=f"missing: {re.escape(used)}"):
        convert(state, noise_steps=noise_steps)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["weight", "bias"], "no encoder of a known style"),
        (["flowUpsamplerNet.layers.1.invconv.weight"], "no encoder of a known style"),
        (["RRDB_trunk.0.RDB1.conv1.weight"], "conv_first.weight is missing, so the architecture cannot be inferred"),
        (["model.0.weight"], "model.1.sub.0.RDB1.conv1.0.weight is missing"),
        (["model.0.weight", "model.2.weight"], "is missing"),
        (["body.0.rdb1.conv1.weight", "conv_first.weight"], "enlarges by 1; 4 and 8 are supported"),
    ],
)
def test_foreign_keys(keys: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        convert({key: torch.zeros(4, 3, 3, 3) for key in keys})


def test_flows_of_a_foreign_layout() -> None:
    state, noise_steps = tiny()
    step = f"{FLOW}.4."
    with pytest.raises(InputError, match="do not form levels of equally many steps"):
        convert({key: value for key, value in state.items() if not key.startswith(step)}, noise_steps=noise_steps)
    with pytest.raises(InputError, match="do not form levels of equally many steps"):
        convert({key: value for key, value in state.items() if ".affine." not in key}, noise_steps=noise_steps)
    with pytest.raises(InputError, match=r"unexpected: flowUpsamplerNet\.layers\.norm"):
        convert(state | {f"{FLOW}.norm": torch.zeros(1)}, noise_steps=noise_steps)
    encoder = {key: value for key, value in state.items() if key.startswith("RRDB.")}
    with pytest.raises(InputError, match="do not form levels"):
        convert(encoder | {f"{FLOW}.norm": torch.zeros(1)})


def test_converted_actnorms_never_start_again() -> None:
    state, noise_steps = tiny()
    model = convert(state, noise_steps=noise_steps)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.start_actnorms(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 4, 4))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
