"""A dry run: the memory and the time that a recipe takes on this machine, before hours are spent on it."""

from __future__ import annotations

import torch
import yaml
from lightning_fabric import Fabric

from ncsr.data.loader import make_batch
from ncsr.runtime.timing import duration, seconds_of
from ncsr.training.log import peak_memory_gib
from ncsr.training.recipe import Recipe
from ncsr.training.trainer import Trainer


def dry_run(recipe: Recipe, fabric: Fabric) -> str:
    """Take a few steps on random images; returns recipe, parameters, memory, time per step and in all as text.

    Args:
        recipe: what a run would compute.
        fabric: device and processes, launched.
    """
    trainer = Trainer(recipe, fabric)
    generator = torch.Generator().manual_seed(recipe.seed)
    photo = torch.randint(256, (3, recipe.crop, recipe.crop), generator=generator, dtype=torch.uint8)
    batch = make_batch([photo], recipe, recipe.model.scale, 0, range(recipe.batch // fabric.world_size))
    trainer.start(batch)
    trainer.advance(batch)  # to warm up
    step = seconds_of(lambda: trainer.advance(batch), fabric.device)
    encoder = sum(p.numel() for p in trainer.model.encoder.parameters())
    whole = sum(p.numel() for p in trainer.model.parameters())
    where = f"{fabric.world_size} x {fabric.device.type}, {trainer.model.precision}"
    return "\n".join(
        (
            yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).rstrip(),
            "",
            f"parameters: {whole / 1e6:.2f} million, {encoder / 1e6:.2f} of them the encoder's",
            f"memory: {peak_memory_gib():.2f} GiB per process",
            f"time: {step:.3f} s per step of {recipe.batch} crops ({where}); {duration(step * recipe.steps)} in all, "
            "validation and checkpoints not included",
        )
    )
