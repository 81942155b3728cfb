"""The learning rate of every step, as a function of the recipe and the step alone."""

from __future__ import annotations

import math

from ncsr.training.recipe import Recipe

_LOWEST = 1e-7  # where a cosine with restarts ends (the published RRDB)


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of (zero-based) step `step`: linear warm-up, then the recipe's schedule."""
    top, done = recipe.learning_rate, step / recipe.steps
    if step < recipe.warmup:
        return top * (step + 1) / recipe.warmup
    if recipe.schedule == "cosine":
        return top * _cosine(done)
    if recipe.schedule == "restarts":
        return _LOWEST + (top - _LOWEST) * _cosine(step % recipe.restart_every / recipe.restart_every)
    if recipe.schedule == "halve":
        return top * 0.5 ** sum(done >= at for at in recipe.halve_at)
    return top


def encoder_trains(recipe: Recipe, step: int) -> bool:
    """Whether the encoder's weights change in (zero-based) step `step`."""
    return recipe.encoder_rate > 0 and step >= recipe.encoder_frozen * recipe.steps


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2
