"""Tiny models with lively parameters, for tests."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from ncsr import NCSR
from ncsr.config import Condition, EncoderConfig, FlowConfig, ModelConfig, ScaleBound
from ncsr.flow.actnorm import ActNorm

_Module = TypeVar("_Module", bound=nn.Module)
PUBLISHED_X4 = ModelConfig()
PUBLISHED_X8 = ModelConfig(scale=8, flow=FlowConfig(levels=4, steps=20, noise_steps=(0, 0, 16, 16)))
TINY_ENCODER = EncoderConfig(features=4, growth=2, blocks=2)


def tiny_config(scale: int = 4, condition: Condition = "noise", bound: ScaleBound = "sigmoid") -> ModelConfig:
    """Two steps at every level; noise layers in the last step of the level before the last and in both of the last."""
    levels = 3 if scale == 4 else 4
    flow = FlowConfig(
        levels=levels,
        steps=2,
        hidden=6,
        stacked_blocks=(0, 1),
        condition=condition,
        noise_steps=(0,) * levels if condition == "none" else (*(0,) * (levels - 2), 1, 2),
        scale_bound=bound,
    )
    return ModelConfig.model_validate({"scale": scale, "encoder": TINY_ENCODER, "flow": flow})


def lively_model(
    scale: int = 4, condition: Condition = "noise", bound: ScaleBound = "sigmoid", dtype: torch.dtype = torch.float64
) -> NCSR:
    """A started model of `tiny_config`, every parameter away from its start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return enliven(NCSR(tiny_config(scale, condition, bound), precision="float32")).to(dtype).eval()


def lively_encoder(dense_block: str = "esrgan", dtype: torch.dtype = torch.float64) -> NCSR:
    """An encoder-only model."""
    encoder = EncoderConfig.model_validate(TINY_ENCODER.model_dump() | {"dense_block": dense_block})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return enliven(NCSR(ModelConfig(encoder=encoder, flow=None), precision="float32")).to(dtype).eval()


def enliven(module: _Module) -> _Module:
    """Move every parameter away from its start, so that nothing is zero, one or volume-preserving."""
    with torch.no_grad():
        for parameter in module.parameters():
            inputs = parameter[0].numel()  # 1 of a vector
            parameter.add_(torch.randn_like(parameter) * (0.1 if inputs == 1 else 0.3 / inputs**0.5))
    for part in module.modules():
        if isinstance(part, ActNorm):
            part.started.fill_(True)
    return module
