"""A rehearsal: what a recipe amounts to on this machine, before hours are spent on it."""

from __future__ import annotations

import time

import torch
import yaml
from lightning_fabric import Fabric

from ncsr.data.loader import Batch
from ncsr.ops.resize import imresize
from ncsr.training.log import memory_gib
from ncsr.training.recipe import Recipe
from ncsr.training.trainer import Trainer

_STEPS = 3  # timed, after one that is not


def rehearse(recipe: Recipe, fabric: Fabric) -> str:
    """Take a few steps on random images and say, as text: recipe, parameters, memory, time per step and in all.

    Args:
        recipe: what a run would compute.
        fabric: where, launched.
    """
    trainer = Trainer(recipe, fabric)
    batch = _random_batch(recipe, recipe.batch // fabric.world_size)
    trainer.start(batch)
    trainer.advance(batch)
    seconds = []
    for _ in range(_STEPS):
        began = time.perf_counter()
        trainer.advance(batch)
        seconds.append(time.perf_counter() - began)
    step = sorted(seconds)[_STEPS // 2]
    encoder = sum(p.numel() for p in trainer.model.encoder.parameters())
    whole = sum(p.numel() for p in trainer.model.parameters())
    where = f"{fabric.world_size} x {fabric.device.type}, {trainer.model.precision}"
    return "\n".join(
        (
            yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).rstrip(),
            "",
            f"parameters: {whole / 1e6:.2f} million, {encoder / 1e6:.2f} of them the encoder's",
            f"memory: {memory_gib():.2f} GiB per process",
            f"time: {step:.3f} s per step of {recipe.batch} crops ({where}); {_duration(step * recipe.steps)} in all, "
            "validation and checkpoints not included",
        )
    )


def _random_batch(recipe: Recipe, count: int) -> Batch:
    generator = torch.Generator().manual_seed(recipe.seed)
    hr = torch.rand(count, 3, recipe.crop, recipe.crop, generator=generator)
    v = recipe.noise * torch.randn(hr.shape, generator=generator) if recipe.noise else None
    std = None if v is None else torch.full((count,), recipe.noise)
    return Batch(hr, imresize(hr, 1 / recipe.model.scale).clamp(0, 1), v, std)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{seconds / 86400:.1f} days"
