"""Published checkpoints of NCSR, SRFlow, RRDB, ESRGAN and ESRGAN+; the architecture is read from keys and shapes.

NCSR and SRFlow files hold the encoder as `RRDB.*` and the flow as `flowUpsamplerNet.layers.N.*`, where N counts, level
by level, the squeeze (which has no keys), the transition steps, the conditional steps and the split. Encoders come in
three styles of key names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Literal, NamedTuple

import torch
from pydantic import ValidationError

from ncsr.config import Condition, EncoderConfig, FlowConfig, ModelConfig, explain
from ncsr.errors import InputError, brief
from ncsr.model import NCSR
from ncsr.serialization import Weights, check_weights

_FLOW = "flowUpsamplerNet.layers."
_SHOWN = 2  # keys of each kind that a message names
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
        noise_steps: number of noise conditional steps of every level, finest first; the keys do not show it. None takes
            the published numbers.
        stacked_blocks: zero-based RRDB blocks whose features the flow gets; the keys show only how many there are. None
            takes the published ones.
        trunk_skip: see `EncoderConfig`; None takes `last` for a flow's encoder and `first`, as in ESRGAN, for an
            encoder alone.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: this is not such a state dict; keys are missing, unexpected or misshapen: the first are listed; a
            value is not finite, or a 1x1 convolution singular.
    """
    config = read_config(weights, noise_steps=noise_steps, stacked_blocks=stacked_blocks, trunk_skip=trunk_skip)
    storages = {value.untyped_storage().data_ptr(): value for value in weights.values()}  # an expanded one is small
    held = sum(value.untyped_storage().nbytes() // value.element_size() for value in storages.values())
    if config.parameters > 2 * held:  # nothing is made yet; where less is missing, it is named below
        raise InputError(
            f"the checkpoint does not fit the architecture that its keys tell: {held} numbers of {config.parameters}"
        )
    model = NCSR(config)
    state, names = model.state_dict(), published_names(model, weights)
    _check_keys({name: state[key] for key, name in names.items()}, weights)
    values = {key: weights[name].reshape(state[key].shape).float() for key, name in names.items()}
    check_weights(values, "the checkpoint")
    started = {key: torch.tensor(True) for key in state if key.endswith("actnorm.started")}
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
    try:
        modules = _encoder_modules(weights, "RRDB." if is_flow else "")
        encoder = EncoderConfig(
            features=_shape(weights, modules["encoder.first"])[0],
            growth=_shape(weights, modules["encoder.blocks.0.blocks.0.convs.0"])[0],
            blocks=sum(name.endswith(".blocks.0.convs.0") for name in modules),
            trunk_skip=trunk_skip or ("last" if is_flow else "first"),
            dense_block="esrgan+" if "encoder.blocks.0.blocks.0.skip" in modules else "esrgan",
        )
        doublings = sum(name.startswith("encoder.ups.") for name in modules)
        if doublings not in (2, 3):
            times = 2**doublings if doublings < 10 else f"2^{doublings}"
            raise InputError(f"the encoder enlarges by {times}; 4 and 8 are supported")
        scale = 2**doublings
        flow = _read_flow(weights, encoder, scale, noise_steps, stacked_blocks) if is_flow else None
        return ModelConfig(scale=scale, encoder=encoder, flow=flow)
    except ValidationError as error:
        raise InputError(f"no such architecture: {explain(error, ModelConfig)}") from None


def published_names(model: NCSR, keys: Iterable[str]) -> dict[str, str]:
    """The published key of every parameter, by its key in this package.

    Args:
        model: of the file's architecture.
        keys: the published file's keys, which tell its style.
    """
    flow = model.config.flow
    modules = _encoder_modules(keys, "RRDB." if flow else "") | (_flow_modules(flow) if flow else {})
    names = {}
    for ours, theirs in modules.items():
        for key, _ in model.get_submodule(ours).named_parameters():
            words = [_FLOW_WORDS.get(word, word) for word in key.replace("subnet.", "").split(".")]
            names[f"{ours}.{key}"] = ".".join([theirs, *words])
    return names


_FLOW_WORDS = {
    "conv1x1": "invconv",
    "log_scale": "logs",
    "log_gain": "logs",
    "injector": "affine.fFeatures",
    "coupling": "affine.fAffine",
    "noise_layer": "affine.fAffine_std",
    "first": "0",
    "second": "2",
    "last": "4",
    "prior": "conv",
}
"""Published names of the parts of a step or a split of the flow, by our names."""


class _Style(NamedTuple):
    """The names that one kind of file gives to the modules of an encoder."""

    sign: str
    """A key that only this kind has."""
    dense: str
    """A dense block, with the numbers of the block (from 0) and of the dense block in it (from 1)."""
    conv: str
    """A convolution of a dense block, with its number (from 1)."""
    first: str
    trunk: str
    up: str
    """The doublings, without their numbers."""
    hr: str
    last: str


_STYLES = (
    _Style(
        sign="RRDB_trunk.0.RDB1.conv1.weight",
        dense="RRDB_trunk.{}.RDB{}",
        conv="conv{}",
        first="conv_first",
        trunk="trunk_conv",
        up="upconv",
        hr="HRconv",
        last="conv_last",
    ),
    _Style(
        sign="body.0.rdb1.conv1.weight",
        dense="body.{}.rdb{}",
        conv="conv{}",
        first="conv_first",
        trunk="conv_body",
        up="conv_up",
        hr="conv_hr",
        last="conv_last",
    ),
    _Style(
        sign="model.0.weight",
        dense="model.1.sub.{}.RDB{}",
        conv="conv{}.0",
        first="model.0",
        trunk="model.1.sub.{}",
        up="model.",  # the doublings, `hr` and `last` share one sequence of numbers
        hr="",
        last="",
    ),
)


def _encoder_modules(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """The published names of an encoder's modules, by our names, in the style of a file's keys behind `prefix`."""
    found = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
    style = next((style for style in _STYLES if style.sign in found), None)
    if style is None:
        raise InputError("no encoder of a known style: expected keys as of NCSR, SRFlow, RRDB, ESRGAN or ESRGAN+ files")
    block = re.escape(style.dense).replace(r"\{\}", r"(\d+)")
    blocks = len({match[1] for key in found if (match := re.match(block, key))}) or 1
    EncoderConfig(blocks=blocks)  # refuses too many before they are named
    numbers = sorted(int(match[1]) for key in found if (match := re.fullmatch(style.up + r"(\d{1,9})\.weight", key)))
    ups, hr, last = [f"{style.up}{number}" for number in numbers], style.hr, style.last
    if not hr:  # the first layer, the doublings and the last two share one sequence of numbers
        *ups, hr, last = ups[1:] if len(ups) > 2 else ["", ""]
    plus = f"{style.dense.format(0, 1)}.conv1x1.weight" in found  # ESRGAN+
    modules = {"first": style.first, "trunk": style.trunk.format(blocks), "hr": hr, "last": last}
    modules |= {f"ups.{i}": name for i, name in enumerate(ups)}
    for i, j in product(range(blocks), range(3)):
        ours, theirs = f"blocks.{i}.blocks.{j}", style.dense.format(i, j + 1)
        modules |= {f"{ours}.convs.{k}": f"{theirs}.{style.conv.format(k + 1)}" for k in range(5)}
        if plus:
            modules[f"{ours}.skip"] = f"{theirs}.conv1x1"
    return {f"encoder.{ours}": prefix + theirs for ours, theirs in modules.items()}


def _flow_modules(flow: FlowConfig) -> dict[str, str]:
    """The published names of the flow's steps and splits, by our names."""
    modules = []  # in the order in which they are numbered; a squeeze has a number but no keys
    for level in range(flow.levels):
        modules += ["squeeze", *(f"flow.levels.{level}.transitions.{t}" for t in range(2))]
        modules += [f"flow.levels.{level}.steps.{k}" for k in range(flow.steps)]
        modules += [f"flow.splits.{level}"] if level + 2 < flow.levels else []
    return {ours: f"{_FLOW}{number}" for number, ours in enumerate(modules) if ours != "squeeze"}


def _read_flow(
    weights: Weights,
    encoder: EncoderConfig,
    scale: int,
    noise_steps: Sequence[int] | None,
    stacked_blocks: Sequence[int] | None,
) -> FlowConfig:
    """The flow's architecture; what the keys do not show is as given, else as published."""
    layers: dict[int, set[str]] = {}
    for key in weights:
        if match := re.match(re.escape(_FLOW) + r"(\d{1,9})\.(.+)", key):
            layers.setdefault(int(match[1]), set()).add(match[2])
    levels = max(layers, default=-1) + 1 - len(layers)  # a squeeze has a number but no keys
    conditional = [n for n, names in layers.items() if any(name.startswith("affine.") for name in names)]
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


def _shape(weights: Weights, name: str) -> tuple[int, ...]:
    """The shape of a module's weight."""
    if f"{name}.weight" not in weights:
        raise InputError(f"the key {name}.weight is missing, so the architecture cannot be inferred")
    shape = tuple(weights[f"{name}.weight"].shape)
    if len(shape) < 2:
        raise InputError(f"the key {name}.weight has the shape {shape}, so the architecture cannot be inferred")
    return shape


def _check_keys(expected: Weights, given: Weights) -> None:
    """Raise InputError that names the first keys in which the two differ."""
    problems = {
        "missing": sorted(map(_name, expected.keys() - given.keys())),
        "unexpected": sorted(_name(key) for key in given.keys() - expected.keys() if not _UNUSED.match(key)),
        "misshapen": [
            f"{_name(key)} {brief(tuple(given[key].shape))} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            # The reference keeps vectors as (1, C, 1, 1) or (C, 1, 1).
            if key in given and given[key].squeeze().shape != value.squeeze().shape
        ],
    }
    found = [f"{kind}: {_first(keys)}" for kind, keys in problems.items() if keys]
    if found:
        raise InputError("the checkpoint does not fit the architecture that its keys tell; " + "; ".join(found))


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


def _name(key: str) -> str:
    return brief(key)[1:-1]
