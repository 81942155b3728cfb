"""Training against the clock: within the minutes of a recipe, its encoder first, then the flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ncsr.training.checkpoints import checkpoints
from ncsr.training.recipe import Recipe, load_recipe
from ncsr.training.run import train

ENCODER = "encoder"
"""The folder of the encoder's run, inside that of the flow's."""


def train_stages(recipe: Recipe, data: Sequence[Path], run: Path, *, resume: bool = False, **options: Any) -> Path:
    """Train by the recipe's `encoder_recipe`, then the flow from the encoder that this gives.

    Resuming a run that began from a model (`init`), and so has no encoder stage, continues it in one stage.

    Args:
        recipe: with `minutes` and `encoder_recipe`.
        data: as of `train`.
        run: folder of the flow's run; the encoder's is `run/encoder`.
        resume: go on in the stage in which the training was stopped.
        options: the others of `train`.

    Returns:
        The model folder.

    Raises:
        InputError: as of `train`; there is no such recipe.
    """
    if resume and not (run / ENCODER).exists():
        return train(recipe, data, run, resume=True, **options)
    encoder, flow = split_minutes(recipe)
    model = run / ENCODER / "model"
    if not checkpoints(run):
        model = train(encoder, data, run / ENCODER, resume=resume, **options)
        resume = False
    return train(flow, data, run, init=model, resume=resume, **options)


def split_minutes(recipe: Recipe) -> tuple[Recipe, Recipe]:
    """The encoder's recipe and the flow's, each with its share of the minutes; the encoder is that of the flow.

    Raises:
        InputError: there is no such encoder's recipe.
    """
    assert recipe.minutes is not None
    assert recipe.encoder_recipe is not None
    minutes = recipe.encoder_share * recipe.minutes
    same = {
        "seed": recipe.seed,
        "precision": recipe.precision,
        "model.scale": recipe.model.scale,
        "model.encoder": recipe.model.encoder.model_dump(),
    }
    encoder = load_recipe(recipe.encoder_recipe, {"minutes": minutes, **same})
    return encoder, recipe.model_copy(update={"minutes": recipe.minutes - minutes})
