"""A dry run: the memory and the time that a recipe takes on this machine, before hours are spent on it."""

from __future__ import annotations

import sys

import torch
import yaml
from lightning_fabric import Fabric

from ncsr.data.loader import make_batch
from ncsr.runtime.timing import duration, seconds_of
from ncsr.training.log import peak_memory_gib
from ncsr.training.recipe import Recipe
from ncsr.training.static_step import EAGER_STEPS
from ncsr.training.trainer import Trainer


def dry_run(recipe: Recipe, fabric: Fabric) -> str:
    """Take a few steps on random images; returns recipe, parameters, memory, time per step and in all as text.

    On a CPU, where a step is as long as its crops are many, they are steps of one and two crops.

    Args:
        recipe: what a run would compute.
        fabric: device and processes, launched.
    """
    share, on_cpu = recipe.batch // fabric.world_size, fabric.device.type == "cpu"
    part = share // recipe.accumulate
    crops = min(part, 2) if on_cpu else share
    print(f"taking steps of {crops} crops, of {share} in a step of this recipe", file=sys.stderr, flush=True)
    short = {"batch": crops * fabric.world_size, "accumulate": 1}
    trainer = Trainer(recipe.model_copy(update=short) if on_cpu else recipe, fabric)
    generator = torch.Generator().manual_seed(recipe.seed)
    photo = torch.randint(256, (3, recipe.crop, recipe.crop), generator=generator, dtype=torch.uint8)
    one, batch = (
        make_batch([photo], recipe, recipe.model.scale, 0, range(count)) for count in (1 if on_cpu else crops, crops)
    )
    trainer.start(one)
    for _ in range(1 if on_cpu else EAGER_STEPS + 2):  # to warm up, and on a GPU to capture a step
        trainer.advance(one)
    of_one = peak_memory_gib()
    step = seconds_of(lambda: trainer.advance(batch), fabric.device, 1 if on_cpu else 3) * share / crops
    memory = peak_memory_gib()
    if on_cpu:  # it grows with the crops that are computed at a time
        memory = of_one + (memory - of_one) * (part - 1)
    encoder = sum(p.numel() for p in trainer.model.encoder.parameters())
    whole = sum(p.numel() for p in trainer.model.parameters())
    where = f"{fabric.world_size} x {fabric.device.type}, {trainer.model.precision}"
    if recipe.minutes is None:
        in_all = f"{duration(step * recipe.steps)} in all, validation and checkpoints not included"
    else:
        in_all = f"{60 * recipe.minutes / step:.0f} steps in {recipe.minutes:.3g} minutes without validation"
    return "\n".join(
        (
            yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).rstrip(),
            "",
            f"parameters: {whole / 1e6:.2f} million, {encoder / 1e6:.2f} of them the encoder's",
            f"memory: {memory:.2f} GiB per process",
            f"time: {step:.3f} s per step of {recipe.batch} crops ({where}); {in_all}",
        )
    )
