"""What is to be done to photographs, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ncsr.errors import InputError, SamplingError
from ncsr.images import Source
from ncsr.model import NCSR
from ncsr.runtime.memory import is_exhaustion
from ncsr.runtime.remote import Remote
from ncsr.serialization import fingerprint
from ncsr.upscaling.tiling import SampleRequest

_Place = TypeVar("_Place", Path, Remote, Path | Remote)


@dataclass(frozen=True)
class Job:
    """What is done to every photograph."""

    model: NCSR
    drawing: SampleRequest
    consistent: bool
    sheet: bool
    std: bool
    strip: bool
    max_pixels: int
    settings: Mapping[str, Any] | None
    """All of this that decides the results, for records; None keeps none."""

    def names(self, target: _Place) -> list[_Place]:
        """The files that a photograph becomes: its samples, then the map and the sheet, if asked for."""
        n = self.drawing.samples
        samples = [target] if n == 1 else [beside(target, f"s{k}") for k in range(n)]
        extras = (("std", self.std), ("sheet", self.sheet))
        return samples + [beside(target, tag).with_suffix(".png") for tag, wanted in extras if wanted]


@dataclass(frozen=True)
class QueuedPhoto:
    """A photograph and what is known of it before its turn.

    Attributes:
        path: of its file.
        target: of its result, before `_s0` and the like.
        source: None where it is opened in its turn, because it is large.
        batch_limit: how many of its size may be computed as one batch with it.
        settings: for its record; None keeps none.
        done: whether its record says that it is done.
        failure: a sentence about what is wrong with it.
    """

    path: Path
    target: Path
    source: Source | None = None
    batch_limit: int = 1
    settings: Mapping[str, Any] | None = None
    done: bool = False
    failure: str | None = None


class UpscaleResult(NamedTuple):
    """What became of a photograph: paths of its results and sentences about them, or the sentence of its failure."""

    path: Path | Remote
    skipped: bool
    paths: Sequence[Path | Remote]
    notes: list[str]
    failure: str | None


def beside(path: _Place, tag: str) -> _Place:
    """The path with a tag behind the file's stem."""
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def settings_of(job: Job, device: str) -> dict[str, Any]:
    """All that decides the results on this kind of device, but for the photograph."""
    model, drawing = job.model, job.drawing
    return {
        "model": fingerprint(model.config, model.state_dict()),
        "device": device,
        "precision": "bfloat16" if model.low_precision(sampling=True) else "float32",
        "scale": model.config.scale,
        "samples": drawing.samples,
        "temperature": drawing.temperature,
        "seed": drawing.seed if drawing.temperature else None,
        "consistent": job.consistent,
        "strip": job.strip,
    }


def check_names(plan: Sequence[tuple[Path | Remote, Path | Remote]], job: Job) -> None:
    """Refuse results that would replace each other or a photograph."""
    photographs = {source.resolve() for source, _ in plan}
    owners: dict[Path | Remote, Path | Remote] = {}
    for source, target in plan:
        for name in job.names(target):
            if name.resolve() in photographs:
                raise InputError(f"{name}, made from {source}, would replace a photograph: choose another -o")
            owner = owners.setdefault(name.resolve(), source)
            if owner != source:
                raise InputError(f"{owner} and {source} would both become {name}: enlarge them into different folders")


def error_message(path: Path, target: Path, error: Exception) -> str:
    """The sentence for a failure that is the photograph's or the memory's; anything else is raised again."""
    message = str(error)
    if isinstance(error, (InputError, SamplingError)):
        named = str(path) in message or str(target) in message
        return message if named else f"{path}: {message}"
    if not is_exhaustion(error):
        raise error
    return f"{path}: not enough memory: ask for fewer samples (-n) or a smaller --tile"
