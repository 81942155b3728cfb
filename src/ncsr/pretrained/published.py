"""Published checkpoints: their key names, and the architecture that keys and shapes tell.

NCSR and SRFlow files hold the encoder as `RRDB.*` and the flow as `flowUpsamplerNet.layers.N.*`, N counting, per
level, the squeeze (no keys), the transition steps, the conditional steps and the split. RRDB, ESRGAN and ESRGAN+ files
come in three key styles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from ncsr.config import Condition, EncoderConfig, FlowConfig, ModelConfig
from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.serialization import Weights

_FLOW = "flowUpsamplerNet.layers."
_UNUSED = re.compile(
    r"flowUpsamplerNet\.f\.|.*\.affine\.fAffine_std\."
)  # never read, or only where noise_steps says so


def convert(
    weights: Weights,
    *,
    noise_steps: Sequence[int] | None = None,
    stacked_blocks: Sequence[int] | None = None,
    trunk_skip: Literal["first", "last"] | None = None,
) -> NCSR:
    """The model of a published state dict.

    Args:
        weights: by reference key name.
        noise_steps: of every level, finest first; None: as published (the keys do not tell).
        stacked_blocks: zero-based; None: as published (the keys tell only how many).
        trunk_skip: of the encoder; None: `last` for a flow's, `first` (ESRGAN's) for an encoder-only file.

    Raises:
        InputError: not such a state dict; missing, unexpected or misshapen keys, all listed.
    """
    config = read_config(weights, noise_steps=noise_steps, stacked_blocks=stacked_blocks, trunk_skip=trunk_skip)
    model = NCSR(config)
    names = reference_names(config, weights)
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
    """The architecture of a published state dict; see `convert` for the arguments and errors."""
    prefix = "RRDB." if any(key.startswith(_FLOW) for key in weights) else ""
    style = _Style(weights, prefix)
    features, growth = _shape(weights, style.first())[0], _shape(weights, style.conv(0, 0, 0))[0]
    encoder = EncoderConfig(
        features=features,
        growth=growth,
        blocks=style.blocks,
        trunk_skip=trunk_skip or ("last" if prefix else "first"),
        dense_block="esrgan+" if style.skip(0, 0) + ".weight" in weights else "esrgan",
    )
    scale = 2 ** len(style.ups)
    if scale not in (4, 8):
        raise InputError(f"the encoder enlarges by {scale}; 4 and 8 are supported")
    try:
        flow = _read_flow(weights, encoder, scale, noise_steps, stacked_blocks) if prefix else None
        return ModelConfig(scale=scale, encoder=encoder, flow=flow)
    except ValidationError as error:
        reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise InputError(f"no such architecture: {reasons}") from None


def reference_names(config: ModelConfig, weights: Iterable[str]) -> dict[str, str]:
    """Every parameter's key in this package to its reference key.

    Args:
        config: of the model.
        weights: the file's keys, which tell its style.
    """
    style = _Style(weights, "RRDB." if config.flow else "")
    modules = {
        "encoder.first": style.first(),
        "encoder.trunk": style.trunk(),
        "encoder.hr": style.hr,
        "encoder.last": style.last,
    }
    modules |= {f"encoder.ups.{i}": name for i, name in enumerate(style.ups)}
    names = {}
    for i in range(config.encoder.blocks):
        for j in range(3):
            block = f"encoder.blocks.{i}.blocks.{j}"
            modules |= {f"{block}.convs.{k}": style.conv(i, j, k) for k in range(5)}
            if config.encoder.dense_block == "esrgan+":
                names[f"{block}.skip.weight"] = style.skip(i, j) + ".weight"
    for ours, theirs in modules.items():
        names |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return names | (_flow_names(config.flow) if config.flow else {})


class _Style:
    """Key names of an encoder, in the style that the given keys have."""

    def __init__(self, keys: Iterable[str], prefix: str) -> None:
        keys = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
        self.prefix = prefix
        self.kind = next((kind for kind, sign in _SIGNS.items() if sign in keys), "")
        if not self.kind:
            raise InputError(
                "no encoder of a known style: expected keys as of NCSR, SRFlow, RRDB, ESRGAN or ESRGAN+ files"
            )
        self.blocks = 1 + max((int(m[1]) for key in keys if (m := re.match(_BLOCK[self.kind], key))), default=-1)
        if self.kind == "sequential":
            convs = sorted({int(key.split(".")[1]) for key in keys if re.match(r"model\.\d+\.weight", key)})
            *ups, hr, last = [f"model.{n}" for n in convs[1:]] if len(convs) > 2 else ["", ""]
        else:
            up, hr, last = (
                ("upconv", "HRconv", "conv_last") if self.kind == "esrgan" else ("conv_up", "conv_hr", "conv_last")
            )
            count = sum(re.fullmatch(up + r"\d+\.weight", key) is not None for key in keys)
            ups = [f"{up}{i + 1}" for i in range(count)]
        self.ups, self.hr, self.last = [prefix + up for up in ups], prefix + hr, prefix + last

    def first(self) -> str:
        return self.prefix + ("model.0" if self.kind == "sequential" else "conv_first")

    def trunk(self) -> str:
        names = {"esrgan": "trunk_conv", "basicsr": "conv_body", "sequential": f"model.1.sub.{self.blocks}"}
        return self.prefix + names[self.kind]

    def conv(self, block: int, dense: int, index: int) -> str:
        if self.kind == "basicsr":
            return f"{self.prefix}body.{block}.rdb{dense + 1}.conv{index + 1}"
        if self.kind == "sequential":
            return f"{self.prefix}model.1.sub.{block}.RDB{dense + 1}.conv{index + 1}.0"
        return f"{self.prefix}RRDB_trunk.{block}.RDB{dense + 1}.conv{index + 1}"

    def skip(self, block: int, dense: int) -> str:
        return f"{self.prefix}model.1.sub.{block}.RDB{dense + 1}.conv1x1"


_SIGNS = {
    "esrgan": "RRDB_trunk.0.RDB1.conv1.weight",
    "basicsr": "body.0.rdb1.conv1.weight",
    "sequential": "model.0.weight",
}
_BLOCK = {
    "esrgan": r"RRDB_trunk\.(\d+)\.",
    "basicsr": r"body\.(\d+)\.",
    "sequential": r"model\.1\.sub\.(\d+)\.RDB",
}


def _read_flow(
    weights: Weights,
    encoder: EncoderConfig,
    scale: int,
    noise_steps: Sequence[int] | None,
    stacked_blocks: Sequence[int] | None,
) -> FlowConfig:
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
    name = f"{_FLOW}{min(conditional)}.affine."
    hidden, seen = _shape(weights, name + "fFeatures.0")[:2]
    condition: Condition = "none"
    noisy = [n for n in conditional if f"{_FLOW}{n}.affine.fAffine_std.0.weight" in weights]
    if noisy:
        half = _shape(weights, f"{_FLOW}{noisy[0]}.invconv")[0] // 2
        channels = _shape(weights, f"{_FLOW}{noisy[0]}.affine.fAffine_std.0")[1] - half
        condition = "std" if channels == 1 else "noise"
    if noise_steps is None:
        noise_steps = _published_noise_steps(scale, levels, steps) if condition != "none" else [0] * levels
    if stacked_blocks is None:
        stacked_blocks = _published_stack(encoder, scale, condition, (seen - encoder.features) // encoder.features)
    return FlowConfig(
        levels=levels,
        steps=steps,
        hidden=hidden,
        stacked_blocks=tuple(stacked_blocks),
        condition=condition if any(noise_steps) else "none",
        noise_steps=tuple(noise_steps),
    )


def _published_noise_steps(scale: int, levels: int, steps: int) -> list[int]:
    free = 1 if scale == 4 else 2  # levels of the noise-free block
    return [0] * free + [min(16, steps)] * (levels - free)


def _published_stack(encoder: EncoderConfig, scale: int, condition: Condition, count: int) -> tuple[int, ...]:
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
    if f"{name}.weight" not in weights:
        raise InputError(f"the key {name}.weight is missing, so the architecture cannot be told")
    return tuple(weights[f"{name}.weight"].shape)


def _check_keys(expected: Weights, given: Weights) -> None:
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
