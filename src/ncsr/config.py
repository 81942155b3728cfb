"""The model's configuration, as `config.json` holds it: every architecture is described by these values.

Values that would need absurd amounts of memory are refused before anything is allocated, unless the environment has
`UNLIMITED`.
"""

from __future__ import annotations

import difflib
import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from ncsr.errors import brief

UNLIMITED = "NCSR_UNLIMITED"
"""The environment variable that lifts the limits of configurations and recipes when it is set to anything."""
MAX_PARAMETERS = 200_000_000
"""The limit for a model's parameters, 800 MB in float32; the largest model of the paper has 62 million."""

_SHOWN = 3  # most faults that one message names
Condition = Literal["noise", "std", "none"]
NOISE_CHANNELS: dict[Condition, int] = {"noise": 3, "std": 1, "none": 0}
"""Channels of the noise that the noise conditional layers are given, by `FlowConfig.condition`."""
ScaleBound = Literal["sigmoid", "atan"]


class FrozenModel(BaseModel):
    """Values that cannot be changed once they are checked; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_limit(what: str, value: int, limit: int) -> None:
    """Raise ValueError, with the remedy, if a value is above a limit that the environment does not lift."""
    if value > limit and not os.environ.get(UNLIMITED):
        remedy = f"{UNLIMITED}=1 in the environment lifts the limit"
        raise ValueError(f"{what} may be at most {limit}, got {brief(value)}: {remedy}")


def limited(limit: int) -> AfterValidator:
    """A pydantic validator: `check_limit` of a number, or of a tuple's length."""

    def check(value: Any, field: ValidationInfo) -> Any:
        length = isinstance(value, tuple)
        check_limit(f"{'the length of ' if length else ''}{field.field_name}", len(value) if length else value, limit)
        return value

    return AfterValidator(check)


Channels = Annotated[int, Field(ge=1), limited(4096)]
Depth = Annotated[int, Field(ge=1), limited(256)]
"""How often a part of the networks is repeated."""


class EncoderConfig(FrozenModel):
    """The RRDB network that turns the LR image into features (ESRGAN's generator)."""

    features: Channels = 64
    """Channels between blocks (nf)."""
    growth: Channels = 32
    """Channels that each convolution of a dense block adds."""
    blocks: Depth = 23
    """Residual-in-residual dense blocks (nb)."""
    trunk_skip: Literal["last", "first"] = "last"
    """What the trunk's convolution is added to: the output of the last block (NCSR), or of the first layer (ESRGAN)."""
    dense_block: Literal["esrgan", "esrgan+"] = "esrgan"
    """ESRGAN+ adds a 1x1 skip inside every dense block and, while sampling, multiplicative Gaussian noise."""


class FlowConfig(FrozenModel):
    """The conditional flow on top of the encoder."""

    levels: int = Field(default=3, ge=2)
    """Levels L; level l works at H / 2^l."""
    steps: Depth = 16
    """Conditional steps K of every level."""
    hidden: Channels = 64
    """Hidden channels of every subnet."""
    stacked_blocks: Annotated[tuple[int, ...], Field(min_length=1), limited(256)] = (1, 8, 15, 22)
    """RRDB blocks (zero-based) whose outputs join the features of every level."""
    condition: Condition = "noise"
    """What the noise conditional layers see: the noise image, its standard deviation, or nothing (no such layer)."""
    noise_steps: tuple[int, ...] = (0, 16, 16)
    """Per level, finest first: how many of the K steps, counted from the last, have a noise conditional layer."""
    scale_bound: ScaleBound = "sigmoid"
    """`sigmoid`: sigmoid(raw + 2) + 1e-4, as published; `atan`: exp(0.318 atan(2 raw)), never outside [0.61, 1.65]."""

    @model_validator(mode="after")
    def _check(self) -> FlowConfig:
        given = brief(list(self.noise_steps))
        if len(self.noise_steps) != self.levels:
            raise ValueError(f"noise_steps needs one number per level ({brief(self.levels)}), got {given}")
        if not all(0 <= n <= self.steps for n in self.noise_steps):
            raise ValueError(f"noise_steps must lie in 0..{self.steps} (steps), got {given}")
        if (self.condition == "none") != (not any(self.noise_steps)):
            raise ValueError(
                f"condition {self.condition!r} contradicts noise_steps {given}: "
                "'none' goes with zeros alone, 'noise' and 'std' with at least one step"
            )
        return self


class ModelConfig(FrozenModel):
    """A whole model: NCSR and SRFlow with a `flow`, RRDB, ESRGAN and ESRGAN+ without."""

    scale: Literal[4, 8] = 4
    encoder: EncoderConfig = EncoderConfig()
    flow: FlowConfig | None = FlowConfig()
    temperature: float = Field(default=0.9, ge=0, allow_inf_nan=False)
    """Default sampling temperature: the standard deviation of the latents (paper, section 4.3)."""

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.flow is not None:
            self._check_flow(self.flow)
        check_limit("a model's parameters", self.parameters, MAX_PARAMETERS)
        return self

    def _check_flow(self, flow: FlowConfig) -> None:
        deepest = self.scale.bit_length()  # log2(s) + 1: the level at half the LR resolution
        if flow.levels > deepest:
            raise ValueError(f"levels must be at most {deepest} at scale {self.scale}, got {brief(flow.levels)}")
        outside = [b for b in flow.stacked_blocks if not 0 <= b < self.encoder.blocks]
        if outside:
            raise ValueError(f"stacked_blocks must lie in 0..{self.encoder.blocks - 1} (blocks), got {brief(outside)}")

    @property
    def parameters(self) -> int:
        """The number of the model's parameters, computed without making the model."""
        nf, growth, ups = self.encoder.features, self.encoder.growth, self.scale.bit_length() - 1
        dense = sum(_conv(nf + i * growth, growth) for i in range(4)) + _conv(nf + 4 * growth, nf)
        dense += nf * growth * (self.encoder.dense_block == "esrgan+")
        count = 3 * self.encoder.blocks * dense + _conv(3, nf) + (2 + ups) * _conv(nf, nf) + _conv(nf, 3)
        return count if self.flow is None else count + self._flow_parameters(self.flow)

    def _flow_parameters(self, flow: FlowConfig) -> int:
        features, noise = self.encoder.features * (1 + len(flow.stacked_blocks)), NOISE_CHANNELS[flow.condition]
        count, channels = 0, 3
        for level, noisy in enumerate(flow.noise_steps):
            channels *= 4
            half, mixing = channels // 2, channels * (channels + 2)  # of actnorm and 1x1 convolution
            step = mixing + _subnet(features, flow.hidden, channels) + _subnet(half + features, flow.hidden, half)
            count += 2 * mixing + flow.steps * step + noisy * _subnet(half + noise, flow.hidden, half)
            if level + 2 < flow.levels:
                channels = half
                count += _conv(half, 2 * half) + 2 * half
        return count


def _conv(inputs: int, outputs: int) -> int:
    """The parameters of a 3x3 convolution with bias."""
    return (9 * inputs + 1) * outputs


def _subnet(inputs: int, hidden: int, outputs: int) -> int:
    """The parameters of `ncsr.flow.subnet.Subnet`."""
    return 9 * inputs * hidden + hidden**2 + 4 * hidden + _conv(hidden, 2 * outputs) + 2 * outputs


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Why `model` refused its values, in at most three clauses; an unknown key comes with the nearest known one."""
    errors = error.errors(include_url=False)
    more = [f"and {len(errors) - _SHOWN} more faults"] if len(errors) > _SHOWN else []
    return "; ".join([*(_explain(each, model) for each in errors[:_SHOWN]), *more])


def _explain(error: Any, model: Any) -> str:
    where = brief(".".join(map(str, error["loc"])))  # quoted
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] != "extra_forbidden":
        return f"{where[1:-1]}: {error['msg']}, got {brief(error['input'])}".removeprefix(": ")
    for part in error["loc"][:-1]:
        field = model.model_fields[part].annotation
        model = next(m for m in (field, *getattr(field, "__args__", ())) if hasattr(m, "model_fields"))
    close = difflib.get_close_matches(str(error["loc"][-1])[:100], model.model_fields, 1, cutoff=0)
    return f"unknown key {where}: the nearest known one is {close[0]!r}"
