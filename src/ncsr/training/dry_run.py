"""A dry run: the memory and the time that a recipe takes on this machine, before hours are spent on it."""

from __future__ import annotations

import sys
from functools import partial

import torch
import yaml
from lightning_fabric import Fabric

from ncsr.data.loader import Batch, make_batch
from ncsr.runtime.memory import resident
from ncsr.runtime.timing import duration, seconds_of
from ncsr.training.log import peak_memory_gib
from ncsr.training.recipe import Recipe
from ncsr.training.static_step import EAGER_STEPS
from ncsr.training.trainer import Trainer

_LONG = 3.0  # seconds: a step that is expected to take longer is not tried


def dry_run(recipe: Recipe, fabric: Fabric) -> str:
    """Take a few steps on random images; returns recipe, parameters, memory, time per step and in all as text.

    On a CPU, where the whole step of a large model takes minutes, they are steps of fewer and smaller crops, which
    tell of the whole one: beyond what a step takes whatever its crops are, time and memory grow with their pixels.

    Args:
        recipe: what a run would compute.
        fabric: device and processes, launched.
    """
    share, on_cpu = recipe.batch // fabric.world_size, fabric.device.type == "cpu"
    whole_step = f"{share} of {recipe.crop} x {recipe.crop} pixels are in a step of this recipe"
    print(f"taking steps of {'a few crops' if on_cpu else 'all crops'}; {whole_step}", file=sys.stderr, flush=True)
    small = {"batch": fabric.world_size, "accumulate": 1}
    trainer = Trainer(recipe.model_copy(update=small) if on_cpu else recipe, fabric)
    step, memory = _extrapolated(trainer, recipe, share) if on_cpu else _measured(trainer, recipe, share)
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


def _measured(trainer: Trainer, recipe: Recipe, share: int) -> tuple[float, float]:
    """Seconds and GiB of a step of `share` crops."""
    batch = _random_crops(recipe, share)
    trainer.start(batch)
    for _ in range(EAGER_STEPS + 2):  # to warm up, and on a GPU to capture a step
        trainer.advance(batch)
    return seconds_of(lambda: trainer.advance(batch), trainer.fabric.device), peak_memory_gib()


def _extrapolated(trainer: Trainer, recipe: Recipe, share: int) -> tuple[float, float]:
    """Seconds and GiB of a step of `share` crops, extrapolated linearly in pixels from fewer and smaller crops."""
    unit = recipe.model.scale * (1 if recipe.model.flow is None else 2)
    smallest = min(recipe.crop, 4 * unit)
    quarter, half = (max(smallest, recipe.crop // parts // unit * unit) for parts in (4, 2))
    first = _random_crops(recipe, 1, quarter)
    trainer.start(first)
    step, rate, pixels = seconds_of(partial(trainer.advance, first), repeats=1), 0.0, quarter**2
    held = resident() / 2**30  # with the optimiser's state
    for side, crops in ((half, 2), (recipe.crop, 2), (recipe.crop, share)):
        more = crops * side**2 - pixels
        if more <= 0 or step + rate * more > _LONG:
            continue
        batch, before = _random_crops(recipe, crops, side), step
        step, pixels = seconds_of(partial(trainer.advance, batch), repeats=1), pixels + more
        rate = max(step - before, 0.0) / more
    in_all, at_a_time = (crops * recipe.crop**2 for crops in (share, share // recipe.accumulate))
    memory = held + max(peak_memory_gib() - held, 0.0) * at_a_time / pixels
    return step + rate * (in_all - pixels), memory


def _random_crops(recipe: Recipe, number: int, side: int | None = None) -> Batch:
    """Crops of noise, of the recipe's size or another."""
    recipe = recipe.model_copy(update={"crop": side or recipe.crop})
    generator = torch.Generator().manual_seed(recipe.seed)
    photo = torch.randint(256, (3, recipe.crop, recipe.crop), generator=generator, dtype=torch.uint8)
    return make_batch([photo], recipe, recipe.model.scale, 0, range(number))
