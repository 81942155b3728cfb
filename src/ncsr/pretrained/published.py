"""Published checkpoints of NCSR, SRFlow, RRDB, ESRGAN and ESRGAN+: their keys and shapes tell the architecture.

NCSR and SRFlow files hold the encoder as `RRDB.*` and the flow as `flowUpsamplerNet.layers.N.*`, where N counts, level
by level, the squeeze (which has no keys), the transition steps, the conditional steps and the split. Encoders come in
three styles of key names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from ncsr.config import Condition, EncoderConfig, FlowConfig, ModelConfig
from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.serialization import Weights

_FLOW = "flowUpsamplerNet.layers."
_UNUSED = re.compile(r"flowUpsamplerNet\.f\.|.*\.affine\.fAffine_std\.")
"""Keys that the published code never reads, or reads only in the steps that have a noise conditional layer."""


def convert(
    weights: Weights,
    *,
    noise_steps: Sequence[int] | None = None,
    stacked_blocks: Sequence[int] | None = None,
    trunk_skip: Literal["first", "last"] | None = None,
) -> NCSR:
    """Make the model that a published state dict holds.

    Args:
        weights: the state dict.
        noise_steps: noise conditional steps of every level, finest first; None takes the published numbers, which the
            keys do not tell.
        stacked_blocks: zero-based RRDB blocks that the flow sees; None takes the published ones, of which the keys tell
            only how many there are.
        trunk_skip: see `EncoderConfig`; None takes `last` for a flow's encoder and `first`, ESRGAN's, for one alone.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: this is not such a state dict, or some keys are missing, unexpected or misshapen: all are listed.
    """
    config = read_config(weights, noise_steps=noise_steps, stacked_blocks=stacked_blocks, trunk_skip=trunk_skip)
    model = NCSR(config)
    names = published_names(config, weights)
    state = model.state_dict()
    started = {key: torch.tensor(True) for key in state if key.endswith("actnorm.started")}
    _check_keys({names[key]: value for key, value in state.items() if key not in started}, weights)
    values = {key: weights[name].reshape(state[key].shape).float() for key, name in names.items()}
    model.load_state_dict(values | started)
    return model.eval()


def read_config(
    weights: Weights,
    *,
    noise_steps: Sequence[int] | None = None,
    stacked_blocks: Sequence[int] | None = None,
    trunk_skip: Literal["first", "last"] | None = None,
) -> ModelConfig:
    """The architecture of a published state dict; `convert` says what the arguments and errors are."""
    is_flow = any(key.startswith(_FLOW) for key in weights)
    names = _EncoderNames(weights, "RRDB." if is_flow else "")
    encoder = EncoderConfig(
        features=_shape(weights, names.first)[0],
        growth=_shape(weights, names.conv(0, 0, 0))[0],
        blocks=names.blocks,
        trunk_skip=trunk_skip or ("last" if is_flow else "first"),
        dense_block="esrgan+" if names.skip(0, 0) + ".weight" in weights else "esrgan",
    )
    scale = 2 ** len(names.ups)
    if scale not in (4, 8):
        raise InputError(f"the encoder enlarges by {scale}; 4 and 8 are supported")
    try:
        flow = _read_flow(weights, encoder, scale, noise_steps, stacked_blocks) if is_flow else None
        return ModelConfig(scale=scale, encoder=encoder, flow=flow)
    except ValidationError as error:
        reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise InputError(f"no such architecture: {reasons}") from None


def published_names(config: ModelConfig, keys: Iterable[str]) -> dict[str, str]:
    """The published key of every parameter, by its key in this package.

    Args:
        config: the model's configuration.
        keys: the published file's keys, which tell its style.
    """
    encoder = _EncoderNames(keys, "RRDB." if config.flow else "")
    modules = {
        "encoder.first": encoder.first,
        "encoder.trunk": encoder.trunk,
        "encoder.hr": encoder.hr,
        "encoder.last": encoder.last,
    }
    modules |= {f"encoder.ups.{i}": name for i, name in enumerate(encoder.ups)}
    names = {}
    for i in range(config.encoder.blocks):
        for j in range(3):
            block = f"encoder.blocks.{i}.blocks.{j}"
            modules |= {f"{block}.convs.{k}": encoder.conv(i, j, k) for k in range(5)}
            if config.encoder.dense_block == "esrgan+":
                names[f"{block}.skip.weight"] = encoder.skip(i, j) + ".weight"
    for ours, theirs in modules.items():
        names |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return names | (_flow_names(config.flow) if config.flow else {})


class _Style(NamedTuple):
    """How one kind of files names the modules of an encoder."""

    sign: str
    """A key that only these files have."""
    first: str
    dense: str
    """A dense block, with the numbers of the block (from 0) and of the dense block in it (from 1)."""
    conv: str
    """A convolution of a dense block, behind the block's name, with its number (from 1)."""
    trunk: str
    up: str
    """The doublings, without their numbers."""
    hr: str
    last: str


_STYLES = (
    _Style(
        *("RRDB_trunk.0.RDB1.conv1.weight", "conv_first", "RRDB_trunk.{}.RDB{}", ".conv{}", "trunk_conv"),
        *("upconv", "HRconv", "conv_last"),
    ),
    _Style(
        *("body.0.rdb1.conv1.weight", "conv_first", "body.{}.rdb{}", ".conv{}", "conv_body"),
        *("conv_up", "conv_hr", "conv_last"),
    ),
    _Style("model.0.weight", "model.0", "model.1.sub.{}.RDB{}", ".conv{}.0", "model.1.sub.{}", "model.", "", ""),
)


class _EncoderNames:
    """The published names of an encoder's modules, in the style that a file's keys have.

    Args:
        keys: the file's keys.
        prefix: what the encoder's keys begin with.
    """

    def __init__(self, keys: Iterable[str], prefix: str) -> None:
        found = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
        style = next((style for style in _STYLES if style.sign in found), None)
        if style is None:
            raise InputError(
                "no encoder of a known style: expected keys as of NCSR, SRFlow, RRDB, ESRGAN or ESRGAN+ files"
            )
        head, _, tail = style.dense.partition("{}")
        blocks = [re.match(re.escape(head) + r"(\d+)" + re.escape(tail.removesuffix("{}")), key) for key in found]
        self.blocks = 1 + max((int(match[1]) for match in blocks if match), default=-1)
        numbered = [key.removeprefix(style.up) for key in found if re.fullmatch(style.up + r"\d+\.weight", key)]
        ups = [f"{style.up}{number}" for number in sorted(int(rest.partition(".")[0]) for rest in numbered)]
        hr, last = style.hr, style.last
        if not hr:  # the first layer, the doublings and the last two are numbered alike
            *ups, hr, last = ups[1:] if len(ups) > 2 else ["", ""]
        self.first, self.trunk = prefix + style.first, prefix + style.trunk.format(self.blocks)
        self.ups, self.hr, self.last = [prefix + name for name in ups], prefix + hr, prefix + last
        self._dense, self._conv = prefix + style.dense, style.conv

    def conv(self, block: int, dense: int, index: int) -> str:
        """A convolution of a dense block; all numbers count from 0."""
        return self._dense.format(block, dense + 1) + self._conv.format(index + 1)

    def skip(self, block: int, dense: int) -> str:
        """The 1x1 convolution that ESRGAN+ adds to a dense block."""
        return self._dense.format(block, dense + 1) + ".conv1x1"


def _read_flow(
    weights: Weights,
    encoder: EncoderConfig,
    scale: int,
    noise_steps: Sequence[int] | None,
    stacked_blocks: Sequence[int] | None,
) -> FlowConfig:
    """The flow's architecture; what its keys do not tell is as given, else as published."""
    layers: dict[int, set[str]] = {}
    for key in weights:
        if match := re.match(re.escape(_FLOW) + r"(\d+)\.(.+)", key):
            layers.setdefault(int(match[1]), set()).add(match[2])
    squeezes = [n for n in range(max(layers, default=0)) if n not in layers]
    conditional = [n for n, names in layers.items() if any(name.startswith("affine.") for name in names)]
    levels = len(squeezes)
    if not conditional or not levels or len(conditional) % levels:
        raise InputError(
            f"the flow's layers do not form levels of equally many steps: {len(conditional)} steps, {levels} levels"
        )
    steps = len(conditional) // levels
    hidden, inputs = _shape(weights, f"{_FLOW}{min(conditional)}.affine.fFeatures.0")[:2]
    condition: Condition = "none"
    noisy = [n for n in conditional if f"{_FLOW}{n}.affine.fAffine_std.0.weight" in weights]
    if noisy:
        half = _shape(weights, f"{_FLOW}{noisy[0]}.invconv")[0] // 2
        channels = _shape(weights, f"{_FLOW}{noisy[0]}.affine.fAffine_std.0")[1] - half
        condition = "std" if channels == 1 else "noise"
    if noise_steps is None:
        free = (1 if scale == 4 else 2) if noisy else levels  # levels of the noise-free block
        noise_steps = [0] * free + [min(16, steps)] * (levels - free)
    if stacked_blocks is None:
        stacked_blocks = _published_stack(encoder, scale, condition, inputs // encoder.features - 1)
    return FlowConfig(
        levels=levels,
        steps=steps,
        hidden=hidden,
        stacked_blocks=tuple(stacked_blocks),
        condition=condition if any(noise_steps) else "none",
        noise_steps=tuple(noise_steps),
    )


def _published_stack(encoder: EncoderConfig, scale: int, condition: Condition, count: int) -> tuple[int, ...]:
    """The `count` RRDB blocks that the flow of this encoder sees as published."""
    if count == encoder.blocks:
        return tuple(range(count))
    if count == 4 and (encoder.blocks == 8 or (scale == 8 and condition == "none")):
        return (1, 3, 5, 7)
    if count == 4 and encoder.blocks == 23:
        return (1, 8, 15, 22)
    raise InputError(
        f"which {count} of the {encoder.blocks} blocks are stacked is not in the keys: give --stacked-blocks"
    )


def _flow_names(flow: FlowConfig) -> dict[str, str]:
    """The published key of every parameter of the flow, by our key."""
    names: dict[str, str] = {}
    number = 0
    for level in range(flow.levels):
        for t in range(2):
            number += 1
            names |= _norm_names(f"flow.levels.{level}.transitions.{t}", f"{_FLOW}{number}")
        for k in range(flow.steps):
            number += 1
            ours, theirs = f"flow.levels.{level}.steps.{k}", f"{_FLOW}{number}"
            names |= _norm_names(ours, theirs)
            names |= _subnet_names(f"{ours}.injector.subnet", f"{theirs}.affine.fFeatures")
            names |= _subnet_names(f"{ours}.coupling.subnet", f"{theirs}.affine.fAffine")
            if k >= flow.steps - flow.noise_steps[level]:
                names |= _subnet_names(f"{ours}.noise_layer.subnet", f"{theirs}.affine.fAffine_std")
        number += 1
        if level + 2 < flow.levels:
            names |= _zero_conv_names(f"flow.splits.{level}.prior", f"{_FLOW}{number}.conv")
            number += 1
    return names


def _norm_names(ours: str, theirs: str) -> dict[str, str]:
    return _actnorm_names(ours, theirs) | {f"{ours}.conv1x1.weight": f"{theirs}.invconv.weight"}


def _actnorm_names(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.actnorm.bias": f"{theirs}.actnorm.bias", f"{ours}.actnorm.log_scale": f"{theirs}.actnorm.logs"}


def _subnet_names(ours: str, theirs: str) -> dict[str, str]:
    names = {}
    for module, index in (("first", 0), ("second", 2)):
        names[f"{ours}.{module}.weight"] = f"{theirs}.{index}.weight"
        names |= _actnorm_names(f"{ours}.{module}", f"{theirs}.{index}")
    return names | _zero_conv_names(f"{ours}.last", f"{theirs}.4")


def _zero_conv_names(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.weight": f"{theirs}.weight",
        f"{ours}.bias": f"{theirs}.bias",
        f"{ours}.log_gain": f"{theirs}.logs",
    }


def _shape(weights: Weights, name: str) -> tuple[int, ...]:
    """The shape of a module's weight."""
    if f"{name}.weight" not in weights:
        raise InputError(f"the key {name}.weight is missing, so the architecture cannot be told")
    return tuple(weights[f"{name}.weight"].shape)


def _check_keys(expected: Weights, given: Weights) -> None:
    """Raise InputError that lists every key in which the two differ."""
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unexpected": sorted(key for key in given.keys() - expected.keys() if not _UNUSED.match(key)),
        "misshapen": [
            f"{key} {tuple(given[key].shape)} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            if key in given and _trimmed(given[key]) != _trimmed(value)
        ],
    }
    found = [f"{kind}: {', '.join(keys)}" for kind, keys in problems.items() if keys]
    if found:
        raise InputError("the checkpoint does not fit the architecture that its keys tell; " + "; ".join(found))


def _trimmed(value: Tensor) -> tuple[int, ...]:
    """The shape without ones: the reference keeps vectors as (1, C, 1, 1) or (C, 1, 1)."""
    return tuple(side for side in value.shape if side != 1)
