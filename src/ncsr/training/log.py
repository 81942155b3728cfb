"""The log of a run: a progress line, TensorBoard, and `log.jsonl`, one object per line."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from ncsr.runtime.files import atomic_path
from ncsr.runtime.progress import ProgressBar
from ncsr.training.recipe import Recipe
from ncsr.training.trainer import StepResult

LOG = "log.jsonl"
_EVERY = 30  # seconds between progress lines where no terminal shows a bar
_NEGATIVE = (
    "The loss fell below zero, as it should: it is -log2 of a density of images in [0, 1], and densities exceed 1. "
    "Papers that count in 8-bit grey levels print a figure that is higher by 8."
)


class TrainingLog(ExitStack):
    """A context that logs one run from step `start` on; what an earlier process logged of later steps is dropped.

    Args:
        run: the run's folder.
        recipe: the run's recipe.
        start: the step at which the run goes on.
        done: the fraction of the run that is over by then, 0 to 1.
        validates: whether the validation of that step is yet to come; what was logged of it is dropped as well.
    """

    def __init__(self, run: Path, recipe: Recipe, start: int, done: float, validates: bool = False) -> None:
        super().__init__()
        self._recipe, self._likelihood = recipe, recipe.objective == "likelihood"
        self._explains = self._likelihood
        dropped = _drop_after(run / LOG, start, validates)
        self._log = self.enter_context((run / LOG).open("a", encoding="utf-8", buffering=1))
        self._board = self.enter_context(SummaryWriter(str(run), purge_step=start + 1))
        self._bar = self.enter_context(ProgressBar(1.0))
        self._bar.update("", done)
        if dropped:
            self.print(f"{run / LOG}: dropped {dropped} lines that are no figures of a step")
        self._first, self._done, self._began = start, done, time.monotonic()
        self._last_line = self._began
        self._smooth: float | None = None

    def step(self, result: StepResult, done: float) -> None:
        """Log one step, at which `done` of the run (0 to 1) is over."""
        figures, step = result._asdict(), result.step
        self._write(figures)
        for name in ("loss", "density", "log_det", "norm", "rate") if self._likelihood else ("loss", "norm", "rate"):
            self._board.add_scalar(f"training/{name}", figures[name], step)
        if result.taken:
            self._smooth = result.loss if self._smooth is None else 0.98 * self._smooth + 0.02 * result.loss
        self._show_progress(result, done)
        if result.loss < 0 and self._explains:
            self._explains = False
            self.print(_NEGATIVE)
        if not result.taken:
            why = {"loss": result.loss, "gradient norm": result.norm}
            self.event(step, "skipped, loss or gradient not finite", why)

    def _show_progress(self, result: StepResult, done: float) -> None:
        now, step = time.monotonic(), result.step
        rate = (step - self._first) / max(now - self._began, 1e-9)
        loss = "none" if self._smooth is None else f"{self._smooth:.4f}"
        parts = f"bits/dim (latents {result.density:.2f}, volume {result.log_det:.2f})" if self._likelihood else "L1"
        text = (
            f"{loss} {parts}, "
            f"{rate * self._recipe.batch:.1f} crops/s, rate {result.rate:.1e}, {peak_memory_gib():.1f} GiB"
        )
        self._bar.update(f"step {step}: {text}", done)
        if done == 1 or (not self._bar.shown and now - self._last_line > _EVERY):
            self._last_line = now
            left = (1 - done) * (now - self._began) / max(done - self._done, 1e-9) / 60
            of = f" of {self._recipe.steps}" if self._recipe.minutes is None else ""
            self.print(f"step {step}{of}: {text}, {left:.0f} min left")

    def event(self, step: int, kind: str, figures: Mapping[str, float | str]) -> None:
        """Log what happens now and then: a validation, a skipped step, a rollback to a checkpoint."""
        self._write({"step": step, "event": kind, **figures})
        for name, value in figures.items():
            if isinstance(value, float):
                self._board.add_scalar(f"{kind}/{name}", value, step)
        shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in figures.items())
        self.print(f"step {step}: {kind}: {shown}")

    def _write(self, line: Mapping[str, object]) -> None:
        """Write a line; a number that is not finite, which JSON does not have, becomes null."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        self._log.write(json.dumps(finite, allow_nan=False) + "\n")

    def image(self, step: int, name: str, image: Image.Image) -> None:
        """Show an image in TensorBoard."""
        self._board.add_image(name, np.asarray(image), step, dataformats="HWC")

    def print(self, text: str) -> None:
        """Print a line to standard error, above the progress bar."""
        self._bar.print(text, error=True)


def peak_memory_gib() -> float:
    """The most memory that this process has used so far: of the GPU where there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _drop_after(log: Path, step: int, validates: bool) -> int:
    """Keep the lines of steps up to `step`, without its validation if `validates`.

    Returns:
        The number of lines that are none of this log; a half-written last line does not count.
    """
    if not log.is_file():
        return 0
    kept, foreign = [], 0
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
            if entry["step"] <= step - (validates and entry.get("event") == "validation"):
                kept.append(line)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            foreign += line.endswith("\n")
    with atomic_path(log) as path:
        path.write_text("".join(kept), encoding="utf-8")
    return foreign
