"""The learning rate of every step, as a function of the recipe, the step and how much of the run is over."""

from __future__ import annotations

import math

from ncsr.training.recipe import Recipe

_LOWEST = 1e-7  # where a cosine with restarts ends (the published RRDB)


def learning_rate(recipe: Recipe, step: int, done: float) -> float:
    """The learning rate of (zero-based) step `step`, `done` (0 to 1) of the run being over.

    It is a linear warm-up, then the recipe's schedule.
    """
    top = recipe.learning_rate
    if step < recipe.warmup:
        return top * (step + 1) / recipe.warmup
    if recipe.schedule == "cosine":
        return top * _cosine(done)
    if recipe.schedule == "restarts":
        return _LOWEST + (top - _LOWEST) * _cosine(step % recipe.restart_every / recipe.restart_every)
    if recipe.schedule == "halve":
        return top * 0.5 ** sum(done >= at for at in recipe.halve_at)
    return top


def encoder_trains(recipe: Recipe, done: float) -> bool:
    """Whether the encoder's weights change when `done` (0 to 1) of the run is over."""
    return recipe.encoder_rate > 0 and done >= recipe.encoder_frozen


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2
