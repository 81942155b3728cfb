"""A training run in its folder: recipe, checkpoints, TensorBoard log, and the model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from ncsr.data.crops import load_photos
from ncsr.errors import InputError
from ncsr.files import atomic_path, make_folder
from ncsr.training.loop import CHECKPOINT, Trainer
from ncsr.training.recipe import Recipe

RECIPE = "recipe.yaml"


def train(recipe: Recipe, data: Sequence[Path], run: Path, *, init: Path | None = None, resume: bool = False) -> Path:
    """Train a model, or go on with its training.

    Args:
        recipe: what to compute.
        data: folders of photographs, searched recursively.
        run: folder for all results; `run/model` is the model, whole at every checkpoint.
        init: a model to start from.
        resume: go on from the run's checkpoint.

    Returns:
        The model folder.

    Raises:
        InputError: no photographs; a folder that holds another run; nothing to resume, or another recipe.
    """
    if (run / CHECKPOINT).exists() and not resume:
        raise InputError(f"{run} holds a run already: give --resume to go on with it, or another -o")
    photos, left_out = load_photos(data, recipe.crop)
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    trainer = Trainer(recipe, photos, init)
    if resume:
        trainer.resume(run)
    else:
        _prepare(run, recipe)
        trainer.start()
    unit = "L1" if recipe.objective == "l1" else "bits/dim"
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with SummaryWriter(str(run)) as log, Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=recipe.steps, completed=trainer.step)
        smooth: float | None = None
        while trainer.step < recipe.steps:
            loss, norm, rate = trainer.advance()
            smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
            bar.update(task, completed=trainer.step, description=f"{smooth:.4f} {unit}")
            for name, value in ((f"loss ({unit})", loss), ("gradient norm", norm), ("learning rate", rate)):
                log.add_scalar(name, value, trainer.step)
            if trainer.step % recipe.checkpoint_every == 0 or trainer.step == recipe.steps:
                trainer.save(run)
    return run / "model"


def _prepare(run: Path, recipe: Recipe) -> None:
    try:
        with atomic_path(make_folder(run) / RECIPE) as path:
            path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write to the run folder {run}: {error.strerror}; choose another -o") from None
