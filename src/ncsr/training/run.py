"""A training run in its folder.

RUN/recipe.yaml      the resolved recipe                   RUN/model      the model as of the last checkpoint
RUN/checkpoints/     all that resuming needs               RUN/best       the best model by validation
RUN/log.jsonl        every step's figures                  RUN/validation pictures
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from pydantic import ValidationError

from ncsr.data.crops import Photographs
from ncsr.data.loader import Batch, batches
from ncsr.data.photos import open_photos
from ncsr.errors import InputError
from ncsr.runtime.device import pick_device
from ncsr.runtime.files import atomic_path, make_folder
from ncsr.training.checkpoints import checkpoints, read_newest, write_checkpoint
from ncsr.training.diagnostics import diagnose
from ncsr.training.log import Journal
from ncsr.training.objective import noisy
from ncsr.training.recipe import Recipe
from ncsr.training.signals import Interrupted, stoppable
from ncsr.training.trainer import Trainer
from ncsr.training.validation import validate

RECIPE = "recipe.yaml"
_START_CROPS = 16  # crops that actnorms start from
_MAKE_ROOM = "make room there, then resume the run"


class Diverged(RuntimeError):
    """A run that went on failing after every return to its last checkpoint; the text is the report."""


class Run:
    """A run: its trainer, its data and its folder.

    Args:
        recipe: what to compute.
        photos: to train on.
        folder: for all results.
        fabric: device and processes, launched.
        held_out: photographs for validation; without, there is none.
        init: a model to start from.
        start: the step of the recipe to start at.
        workers: threads that make crops beside the training.

    Raises:
        InputError: what `Trainer` refuses.
    """

    def __init__(
        self,
        recipe: Recipe,
        photos: Photographs,
        folder: Path,
        fabric: Fabric,
        *,
        held_out: Photographs = (),
        init: Path | None = None,
        start: int = 0,
        workers: int = 0,
    ) -> None:
        self.recipe, self.photos, self.folder, self.fabric = recipe, photos, folder, fabric
        self.held_out, self.workers = held_out, workers
        self.trainer = Trainer(recipe, fabric, init, start)
        self.best: dict[str, float] | None = None

    def begin(self) -> None:
        """Claim the folder, start the actnorms, write the first checkpoint.

        Raises:
            InputError: the folder cannot be made or written, or holds another run.
        """
        if checkpoints(self.folder):
            raise InputError(f"{self.folder} holds a run already: give --resume to go on with it, or another -o")
        count = min(self.recipe.batch, _START_CROPS)
        self.trainer.start(next(self._batches(self.trainer.step, count=count, shared=False)))
        if self.fabric.is_global_zero:
            with self._writing("choose another -o"), atomic_path(make_folder(self.folder) / RECIPE) as path:
                text = yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False)
                path.write_text(text, encoding="utf-8")
            with self._writing(_MAKE_ROOM):
                self._save()
        self.fabric.barrier()

    def resume(self) -> list[str]:
        """Take up the newest whole checkpoint; returns a sentence for each damaged one.

        Raises:
            InputError: there is none, it belongs to another recipe, or the model cannot be written.
        """
        state, damaged = read_newest(self.folder)
        changed = differences(_as_of_now(state["recipe"]), self.recipe.model_dump(mode="json"))
        if changed:
            raise InputError(
                f"{self.folder} was trained with another recipe ({'; '.join(changed)}): resume with the same one"
            )
        self.trainer.restore(state)
        self.best = state["best"]
        if self.fabric.is_global_zero:  # the process may have ended between the checkpoint and the model
            with self._writing(_MAKE_ROOM):
                self._save_model()
        return damaged

    def train(self) -> Path:
        """Go on to the recipe's last step; returns the model folder.

        Raises:
            Interrupted: by SIGTERM or Ctrl-C; everything is saved.
            Diverged: after every return to the last checkpoint.
            InputError: the run's files cannot be written.
        """
        with self._writing(_MAKE_ROOM), stoppable() as stop:
            journal = Journal(self.folder, self.recipe, self.trainer.step) if self.fabric.is_global_zero else None
            try:
                while self.trainer.step < self.recipe.steps and not self._agreed(stop.signal):
                    for batch in self._batches(self.trainer.step):
                        outcome = self.trainer.advance(batch)
                        step = self.trainer.step
                        if journal:
                            journal.step(step, outcome)
                            if not outcome.taken:
                                figures = {"loss": outcome.loss, "gradient norm": outcome.norm}
                                journal.event(step, "skipped, loss or gradient not finite", figures)
                        if self.trainer.sick():
                            self._return(batch, journal)
                            break
                        stopping = self._agreed(stop.signal)
                        last = step == self.recipe.steps
                        # Not after a skipped step: if the weights are to blame, an earlier checkpoint is wanted.
                        due = step % self.recipe.checkpoint_every == 0 and outcome.taken
                        if due or last or stopping:
                            self._save()
                        validates = self.held_out and (step % self.recipe.validate_every == 0 or last)
                        if validates and self._validate(journal):
                            self._save()
                        if stopping:
                            break
            finally:
                if journal:
                    journal.__exit__(None, None, None)
            if self.trainer.step < self.recipe.steps:
                raise Interrupted(self._agreed(stop.signal))
        self.fabric.barrier()  # the model is written when any process returns
        return self.folder / "model"

    def _batches(self, start: int, count: int | None = None, *, shared: bool = True) -> Iterator[Batch]:
        recipe = self.recipe
        return batches(
            self.photos,
            size=recipe.crop,
            scale=recipe.model.scale,
            count=count or recipe.batch,
            seed=recipe.seed,
            start=start,
            stop=recipe.steps,
            noise=recipe.noise,
            rotations=recipe.rotations,
            strange=recipe.strange,
            dequantise=recipe.dequantise,
            rank=self.fabric.global_rank if shared else 0,
            world=self.fabric.world_size if shared else 1,
            workers=self.workers if shared else 0,
        )

    def _agreed(self, number: int | None) -> int:
        """The signal that any of the processes got; 0: none."""
        if self.fabric.world_size == 1:
            return number or 0
        return int(torch.as_tensor(self.fabric.all_gather(torch.tensor(number or 0))).max())

    def _save(self) -> None:
        """Write the checkpoint, then the model folder."""
        if self.fabric.is_global_zero:
            state = {"recipe": self.recipe.model_dump(mode="json"), "best": self.best, **self.trainer.state()}
            best = None if self.best is None else int(self.best["step"])
            write_checkpoint(self.folder, state, self.recipe.keep, best)
            self._save_model()

    def _save_model(self) -> None:
        self.trainer.result().save(self.folder / "model")

    @contextmanager
    def _writing(self, remedy: str) -> Iterator[None]:
        """Say in a sentence what the system says of the run's files."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(f"cannot write to the run folder {self.folder}: {reason}; {remedy}") from None

    def _validate(self, journal: Journal | None) -> bool:
        """Measure on the held-out photographs; whether this is the best model so far."""
        if journal is None:
            return False
        step = self.trainer.step
        result = validate(self.trainer.result(), self.held_out, self.recipe)
        journal.event(step, "validation", result.figures)
        if result.picture is not None:
            journal.picture(step, "validation", result.picture)
            with atomic_path(make_folder(self.folder / "validation") / f"step-{step:08}.png") as path:
                result.picture.save(path)
        if not math.isfinite(result.score) or (self.best is not None and result.score <= self.best["score"]):
            return False
        self.best = {"step": float(step), "score": result.score}
        self.trainer.result().save(self.folder / "best")
        return True

    def _return(self, batch: Batch, journal: Journal | None) -> None:
        """Go back to the last checkpoint with half the learning rate, or give up with a report."""
        trainer, returns = self.trainer, self.trainer.returns
        if returns == self.recipe.returns:
            report = diagnose(trainer.model, *noisy(self.fabric.to_device(batch), self.recipe)).report()
            raise Diverged(
                f"the run was stopped at step {trainer.step}: {len(trainer.skipped)} of the last steps were not "
                f"finite, after {returns} returns to an earlier checkpoint\n{report}"
            )
        trainer.restore(read_newest(self.folder)[0])
        trainer.returns, trainer.skipped = returns + 1, []
        if journal:
            halved = f"half the learning rate, {returns + 1} of {self.recipe.returns} returns"
            journal.event(
                trainer.step, "returned to the last checkpoint", {"because": "too many skipped", "with": halved}
            )


def train(
    recipe: Recipe,
    data: Sequence[Path],
    run: Path,
    *,
    held_out: Path | None = None,
    init: Path | None = None,
    start: int = 0,
    resume: bool = False,
    device: str = "auto",
    workers: int = 0,
    cache: float = 2.0,
) -> Path:
    """Train a model, or go on with its training.

    Args:
        recipe: what to compute.
        data: folders of photographs, searched recursively, or files that `ncsr prepare` packed.
        run: folder for all results; `run/model` is the model, whole at every checkpoint.
        held_out: folder of photographs for validation.
        init: a model to start from.
        start: the step of the recipe to start at.
        resume: go on from the run's newest checkpoint.
        device: `auto` (the accelerators there are, else the CPU), `cpu`, `cuda`, `mps`.
        workers: threads that make crops beside the training.
        cache: GiB of memory for decoded photographs.

    Returns:
        The model folder.

    Raises:
        InputError: no photographs; a folder that holds another run; nothing to resume, or another recipe; no space.
        Interrupted: by SIGTERM or Ctrl-C; everything is saved.
        Diverged: the run went on failing.
    """
    if checkpoints(run) and not resume:
        raise InputError(f"{run} holds a run already: give --resume to go on with it, or another -o")
    if len(data) < recipe.folders:
        raise InputError(f"this recipe trains on {recipe.folders} sources of photographs, got {len(data)}: add --data")
    if not 0 <= cache < math.inf:
        raise InputError(f"the cache must be a finite number of GiB, got {cache}")
    photos, left_out = open_photos(data, recipe.crop, budget=int(cache * 2**30))
    held, too_small = open_photos([held_out], _smallest_held_out(recipe), budget=0) if held_out else ((), [])
    notices = [f"left out: {reason}" for reason in [*left_out, *too_small]]
    fabric = launch(device)
    job = Run(recipe, photos, run, fabric, held_out=held, init=init, start=start, workers=workers)
    if resume:
        notices += job.resume()
    else:
        job.begin()
    if fabric.is_global_zero:
        for notice in notices:
            print(notice, file=sys.stderr)
    return job.train()


def launch(device: str) -> Fabric:
    """The device, and the processes that `torchrun` started (one otherwise).

    Raises:
        InputError: no such device here.
    """
    kind = pick_device(device).type
    if kind not in ("cpu", "cuda", "mps"):
        raise InputError(f"training runs on cpu, cuda or mps, got {device!r}")
    local, nodes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("GROUP_WORLD_SIZE", 1))
    # The encoder's own SR head takes no part in a likelihood, nor does a frozen encoder.
    strategy = DDPStrategy(find_unused_parameters=True) if local * nodes > 1 else "auto"
    fabric = Fabric(accelerator=kind, devices=local, num_nodes=nodes, strategy=strategy)
    fabric.launch()
    return fabric


def _smallest_held_out(recipe: Recipe) -> int:
    return 16 * recipe.model.scale


def _as_of_now(recipe: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe with the defaults of keys that came later; as it is, if it is none for this version."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two nested dictionaries differ, as `key: old -> new`."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found
