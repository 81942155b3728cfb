"""A training run in its folder.

RUN/recipe.yaml      the resolved recipe                   RUN/model      the model as of the last checkpoint
RUN/checkpoints/     all that resuming needs               RUN/best       the best model by validation
RUN/log.jsonl        every step's figures                  RUN/validation pictures
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import yaml
from pydantic import ValidationError

from ncsr.data.crops import CropSources
from ncsr.data.device_photos import photos_on
from ncsr.data.loader import Batch, batches, make_batch
from ncsr.data.photos import open_photos
from ncsr.errors import InputError, printable
from ncsr.images import write_pixels
from ncsr.runtime.files import atomic_path, explain_write_errors, make_folder
from ncsr.runtime.locks import exclusive, remove_abandoned
from ncsr.training.checkpoints import checkpoints, read_newest, write_checkpoint
from ncsr.training.diagnostics import diagnose
from ncsr.training.launch import launch
from ncsr.training.log import TrainingLog
from ncsr.training.objective import noisy
from ncsr.training.recipe import Recipe, changed_values
from ncsr.training.signals import Interrupted, Stop, stoppable
from ncsr.training.trainer import Trainer
from ncsr.training.validation import validate

RECIPE = "recipe.yaml"
_START_CROPS = 16  # crops that actnorms start from
_READ_EVERY = 20  # steps after which the figures of steps that a GPU takes on its own are read
_BARRIER_TIMEOUT = timedelta(days=7)  # while the others wait for process 0
_MAKE_ROOM = "make room there, then resume the run"


class Diverged(RuntimeError):
    """Too many steps were skipped after the last rollback that the recipe allows; the text is the report."""


@dataclass
class Run:
    """A run and its folder. Process 0 writes and validates; the others wait for it."""

    trainer: Trainer
    folder: Path
    """For all results."""
    photos: CropSources
    """Photographs to train on."""
    held_out: CropSources = ()
    """Photographs for validation; without any, there is none."""
    data: dict[str, str] = field(default_factory=dict)
    """By option, a fingerprint of the photographs: a resumed run should have the same."""
    workers: int = 0
    """Threads that make crops beside the training."""
    best: dict[str, float] | None = None
    """Step and score of the best model so far."""
    validation_due: bool = False
    """Whether the model as it is now is yet to be validated: the run was stopped before or during its validation."""
    ended: bool = False
    """Whether the last step was taken; of a run of minutes it stays so, whatever the time is afterwards."""

    def __post_init__(self) -> None:
        self.recipe, self.fabric = self.trainer.recipe, self.trainer.fabric
        self._longest: dict[str, float] = {}
        # A group for waiting alone: validation may take process 0 longer than the others may wait in a step.
        several = self.fabric.world_size > 1
        self._waiting = dist.new_group(timeout=_BARRIER_TIMEOUT, backend="gloo") if several else None

    def begin(self) -> None:
        """Start the actnorms; write the recipe and the first checkpoint.

        Raises:
            InputError: the folder holds another run, or cannot be made or written.
        """
        if self.fabric.is_global_zero and checkpoints(self.folder):
            raise InputError(f"{self.folder} holds a run already: give --resume to go on with it, or another -o")
        indices = range(min(self.recipe.batch, _START_CROPS))
        self.trainer.start(make_batch(self.photos, self.recipe, self.recipe.model.scale, self.trainer.step, indices))
        if self.fabric.is_global_zero:
            with self._writing("choose another -o"), atomic_path(make_folder(self.folder) / RECIPE) as path:
                text = yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False)
                path.write_text(text, encoding="utf-8")
            with self._writing(_MAKE_ROOM):
                self._save()
        self._wait_for_process_0()

    def resume(self) -> list[str]:
        """Go back to the newest whole checkpoint.

        Returns:
            A message for each damaged one, and for each option whose photographs are others than before.

        Raises:
            InputError: there is none, it belongs to another recipe, or the model cannot be written.
        """
        state, messages = read_newest(self.folder, self._restore)
        if self.fabric.is_global_zero:  # the process may have ended between the checkpoint and the model
            with self._writing(_MAKE_ROOM):
                self._save_model()
        for option, before in state.get("data", {}).items():  # which older checkpoints do not tell
            now = self.data.get(option)
            if now == before or self.ended:
                continue
            effect = "it goes on with these, and its result is not that of either alone"
            if option == "--validate":
                effect = "from here on nothing is measured" if now == "none" else "from here on it is measured on these"
            messages.append(f"{option} has other photographs than this run had so far ({before}; now {now}): {effect}")
        return messages

    def _restore(self, state: dict[str, Any]) -> None:
        stored, asked = state["recipe"], self.recipe.model_dump(mode="json")
        with suppress(ValidationError):  # one that this version cannot read is compared as it was written
            stored = Recipe.model_validate(stored).model_dump(mode="json")
        changed = [f"{key}: {old} -> {new}" for key, old, new in changed_values(stored, asked)]
        if changed:
            step = state["step"]
            longer = f", or start another run from its model: --init {self.folder / 'model'} --start-step {step}"
            raise InputError(
                f"{self.folder} was trained with another recipe ({'; '.join(changed)}): resume with the same one, "
                f"as it does if RECIPE and --set are left out"
                f"{longer if step < self.recipe.steps != stored['steps'] else ''}"
            )
        self.trainer.restore(state)
        best = state["best"]
        self.best = best and {key: float(best[key]) for key in ("step", "score")}
        self.validation_due = bool(state.get("validation_due"))
        self.trainer.spent += float(state.get("seconds", 0.0))
        self.ended = bool(state.get("ended", self.trainer.done() == 1))

    def train(self) -> Path:
        """Go on to the recipe's last step; returns the model folder, or raises as the function `train` does."""
        writes = self.fabric.is_global_zero
        with self._writing(_MAKE_ROOM), stoppable() as stop:
            due = self.validation_due and bool(self.held_out)
            start, done = self.trainer.step, self.trainer.done()
            with TrainingLog(self.folder, self.recipe, start, done, due) if writes else nullcontext() as log:
                if due:
                    self._validate(log, True)
                while not self.ended and not self._agreed(stop.signal):
                    self._take_steps(stop, log)
            if not self.ended:
                raise Interrupted(self._agreed(stop.signal))
        self._wait_for_process_0()  # the model is written when any process returns
        return self.folder / "model"

    def _take_steps(self, stop: Stop, log: TrainingLog | None) -> None:
        """Take steps, and do what is due after each, until the run ends, a signal comes, or it is rolled back."""
        share, rank = self.recipe.batch // self.fabric.world_size, self.fabric.global_rank
        indices, steps = range(rank * share, (rank + 1) * share), count(self.trainer.step)
        for batch in batches(self.photos, self.recipe, self.recipe.model.scale, steps, indices, self.workers):
            self.trainer.enqueue(batch)
            step = self.trainer.step
            done = self.trainer.done()
            stopping, last = bool(self._agreed(stop.signal)), done == 1
            saves = last or stopping or step % self.recipe.checkpoint_every == 0
            validates = bool(self.held_out) and (last or step % self.recipe.validate_every == 0)
            if self.trainer.static and not (saves or validates or step % _READ_EVERY == 0):
                continue  # the device works on while the host makes the next batch
            results = self.trainer.results()
            for result in results:
                if log:
                    log.step(result, done)
            if self.trainer.too_many_skipped_steps():
                self._roll_back(batch, log)
                break
            self.ended = last
            # Not after a skipped step: if the weights are to blame, an earlier checkpoint is wanted.
            saves = last or stopping or (saves and results[-1].taken)
            self.validation_due = validates
            if saves:
                self._save()
                self._wait_for_process_0()
            if self.validation_due and (last or not stopping):
                self._validate(log, saves)
            if stopping or last:
                break

    def _wait_for_process_0(self) -> None:
        if self._waiting is not None:
            dist.barrier(self._waiting)

    def _agreed(self, number: int | None) -> int:
        """The signal that any of the processes got; 0 if none did."""
        signal = self.fabric.all_reduce(torch.tensor(number or 0), reduce_op="max")
        assert isinstance(signal, torch.Tensor)
        return int(signal)

    def _save(self) -> None:
        """Write the checkpoint, then the model folder."""
        begun = time.monotonic()
        if self.fabric.is_global_zero:
            own = {"best": self.best, "validation_due": self.validation_due, "data": self.data, "ended": self.ended}
            state = {"recipe": self.recipe.model_dump(mode="json"), **own, **self.trainer.state()}
            best = None if self.best is None else int(self.best["step"])
            write_checkpoint(self.folder, state, self.recipe.keep, best)
            self._save_model()
        self._reserve("saving", begun)

    def _reserve(self, what: str, begun: float) -> None:
        """Keep as much of the recipe's minutes as this took: it is done once more after the last step."""
        self._longest[what] = max(self._longest.get(what, 0.0), time.monotonic() - begun)
        self.trainer.reserve = sum(self._longest.values())

    def _save_model(self) -> None:
        self.trainer.result().save(self.folder / "model")

    def _writing(self, remedy: str) -> AbstractContextManager[None]:
        """Turn the system's errors on the run's files into messages."""
        return explain_write_errors(f"to the run folder {self.folder}", remedy)

    def _validate(self, log: TrainingLog | None, saved: bool) -> None:
        """Measure on the held-out photographs, and keep the model if it is the best so far.

        Args:
            log: of process 0; the others wait.
            saved: whether a checkpoint says that this is due.
        """
        self.validation_due, begun = False, time.monotonic()
        if log and (self._keep_if_best(log) or saved):
            self._save()
        self._reserve("validation", begun)
        self._wait_for_process_0()

    def _keep_if_best(self, log: TrainingLog) -> bool:
        step = self.trainer.step
        result = validate(self.trainer.result(), self.held_out, self.recipe)
        log.event(step, "validation", result.figures)
        if result.picture is not None:
            log.image(step, "validation", result.picture)
            with atomic_path(make_folder(self.folder / "validation") / f"step-{step:08}.png") as path:
                write_pixels(path, np.asarray(result.picture), None, None, record=result.origin.record())
        if not math.isfinite(result.score) or (self.best is not None and result.score <= self.best["score"]):
            return False
        self.best = {"step": float(step), "score": result.score}
        self.trainer.result().save(self.folder / "best")
        return True

    def _roll_back(self, batch: Batch, log: TrainingLog | None) -> None:
        """Go back to the last checkpoint with half the learning rate, or give up with a report."""
        trainer, rollbacks = self.trainer, self.trainer.rollbacks
        if rollbacks == self.recipe.max_rollbacks:
            report = diagnose(trainer.model, *noisy(self.fabric.to_device(batch), self.recipe))
            raise Diverged(
                f"the run was stopped at step {trainer.step}: {len(trainer.skipped)} of the last steps were not "
                f"finite, after {rollbacks} rollbacks to an earlier checkpoint\n{report}"
            )
        _, damaged = read_newest(self.folder, trainer.restore)
        trainer.rollbacks, trainer.skipped = rollbacks + 1, []
        if log:
            halved = f"half the learning rate, {rollbacks + 1} of {self.recipe.max_rollbacks} rollbacks"
            log.event(trainer.step, "returned to the last checkpoint", {"because": "too many skipped", "with": halved})
            for message in damaged:
                log.print(message)


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
        cache: GiB of memory for decoded photographs. On a CUDA device, all of them lie in its memory if they fit in.

    Returns:
        The model folder.

    Raises:
        InputError: no photographs; a folder that holds another run, or that another process trains in; nothing to
            resume, or another recipe; no space.
        Interrupted: by SIGTERM or Ctrl-C; everything is saved.
        Diverged: steps were skipped after the last rollback as well.
    """
    begun = time.monotonic()
    if len(data) < recipe.folders:
        raise InputError(f"this recipe trains on {recipe.folders} sources of photographs, got {len(data)}: add --data")
    if not 0 <= cache < math.inf:
        raise InputError(f"the cache must be a finite number of GiB, got {cache}")
    photos, left_out = open_photos(data, recipe.crop, budget=int(cache * 2**30))
    held, too_small = open_photos([held_out], 16 * recipe.model.scale, budget=0) if held_out else (None, [])
    notes = [f"left out: {reason}" for reason in left_out]
    notes += [f"left out of --validate: {reason}" for reason in too_small]
    fabric = launch(device)
    sources: CropSources = photos
    if fabric.device.type == "cuda":
        if photos.decoded_bytes <= cache * 2**30:
            sources = photos_on(fabric.device, photos)
        else:
            size = photos.decoded_bytes / 2**30
            notes.append(f"crops are made by the CPU: with --cache {size:.1f} the GPU would hold all photographs")
    told = {"--data": photos.fingerprint(), "--validate": held.fingerprint() if held else "none"}
    trainer = Trainer(recipe, fabric, init, start)
    trainer.spent = time.monotonic() - begun - trainer.seconds()  # reading photographs counts
    notes += trainer.notes
    if recipe.objective == "likelihood" and init is None and not resume:
        notes.append("the encoder starts untrained, without --init: the paper's starts from an RRDB trained by L1")
    job = Run(trainer, run, sources, held or (), told, workers)
    with exclusive(run if resume else make_folder(run)) if fabric.is_global_zero else nullcontext():
        if resume:
            notes += job.resume()
        else:
            job.begin()
        if fabric.is_global_zero:
            for folder in (run, *run.iterdir()):
                remove_abandoned(folder)
            for note in notes:
                print(printable(note), file=sys.stderr)
        return job.train()
