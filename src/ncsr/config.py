"""The model's configuration, as `config.json` holds it: what tells one architecture from another is a value here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Condition = Literal["noise", "std", "none"]
ScaleBound = Literal["sigmoid", "atan"]


class FrozenModel(BaseModel):
    """Values that cannot be changed once they are checked; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderConfig(FrozenModel):
    """The RRDB network that turns the LR image into features (ESRGAN's generator)."""

    features: int = Field(default=64, ge=1)
    """Channels between blocks (nf)."""
    growth: int = Field(default=32, ge=1)
    """Channels that each convolution of a dense block adds."""
    blocks: int = Field(default=23, ge=1)
    """Residual-in-residual dense blocks (nb)."""
    trunk_skip: Literal["last", "first"] = "last"
    """What the trunk's convolution is added to: the output of the last block (NCSR), or of the first layer (ESRGAN)."""
    dense_block: Literal["esrgan", "esrgan+"] = "esrgan"
    """ESRGAN+ adds a 1x1 skip inside every dense block and, while sampling, multiplicative Gaussian noise."""


class FlowConfig(FrozenModel):
    """The conditional flow on top of the encoder."""

    levels: int = Field(default=3, ge=2)
    """Levels L; level l works at H / 2^l."""
    steps: int = Field(default=16, ge=1)
    """Conditional steps K of every level."""
    hidden: int = Field(default=64, ge=1)
    """Hidden channels of every subnet."""
    stacked_blocks: tuple[int, ...] = (1, 8, 15, 22)
    """RRDB blocks (zero-based) whose outputs join the features of every level."""
    condition: Condition = "noise"
    """What the noise conditional layers see: the noise image, its standard deviation, or nothing (no such layer)."""
    noise_steps: tuple[int, ...] = (0, 16, 16)
    """Per level, finest first: how many of the K steps, counted from the last, have a noise conditional layer."""
    scale_bound: ScaleBound = "sigmoid"
    """`sigmoid`: sigmoid(raw + 2) + 1e-4, as published; `atan`: exp(0.318 atan(2 raw)), never outside [0.61, 1.65]."""

    @model_validator(mode="after")
    def _check(self) -> FlowConfig:
        if len(self.noise_steps) != self.levels:
            raise ValueError(f"noise_steps needs one number per level ({self.levels}), got {list(self.noise_steps)}")
        if not all(0 <= n <= self.steps for n in self.noise_steps):
            raise ValueError(f"noise_steps must lie in 0..{self.steps} (steps), got {list(self.noise_steps)}")
        if (self.condition == "none") != (not any(self.noise_steps)):
            raise ValueError(
                f"condition {self.condition!r} contradicts noise_steps {list(self.noise_steps)}: "
                "'none' goes with zeros alone, 'noise' and 'std' with at least one step"
            )
        return self


class ModelConfig(FrozenModel):
    """A whole model: NCSR and SRFlow with a `flow`, RRDB, ESRGAN and ESRGAN+ without."""

    scale: Literal[4, 8] = 4
    encoder: EncoderConfig = EncoderConfig()
    flow: FlowConfig | None = FlowConfig()
    temperature: float = Field(default=0.9, ge=0)
    """Default sampling temperature: the standard deviation of the latents (paper, section 4.3)."""

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.flow is None:
            return self
        deepest = self.scale.bit_length()  # log2(s) + 1: the level at half the LR resolution
        if self.flow.levels > deepest:
            raise ValueError(f"levels must be at most {deepest} at scale {self.scale}, got {self.flow.levels}")
        outside = [b for b in self.flow.stacked_blocks if not 0 <= b < self.encoder.blocks]
        if outside:
            raise ValueError(f"stacked_blocks must lie in 0..{self.encoder.blocks - 1} (blocks), got {outside}")
        return self
