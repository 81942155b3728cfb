"""Photographs enlarged by the workers of a cluster, bit for bit as `ncsr.upscaling.pipeline` does it on one machine.

The plan is cut into windows; any machine looks into the photographs of a window and tells which of them are computed
together, as one machine would; a worker then does such a group, and nothing else decides a bit of the results. Files
behind URLs are copied to the worker and from it. Whatever a worker wrote before it died is written again, the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ncsr.errors import InputError
from ncsr.runtime.ray_pool import Workers
from ncsr.runtime.remote import Remote
from ncsr.upscaling.grouping import group_by_key
from ncsr.upscaling.job import Job, QueuedPhoto, UpscaleResult
from ncsr.upscaling.manifest import manifest_path, manifest_state, remove_manifest
from ncsr.upscaling.pipeline import (
    BATCH_PIXELS,
    WINDOW,
    PhotoProgress,
    Warn,
    batch_key,
    enlarge_all,
    prefetch_photo,
)

_LOOK_INTO = 2**20  # bytes of a file behind a URL that may hold few enough pixels to be computed together with others


class _Entry(NamedTuple):
    """A photograph of the plan, and what is known of it before its turn: see `QueuedPhoto`."""

    source: Path | Remote
    target: Path | Remote
    settings: Mapping[str, Any] | None = None
    done: bool = False
    failure: str | None = None


def enlarge_by(
    workers: Workers, plan: Sequence[tuple[Path | Remote, Path | Remote]], job: Job, progress: PhotoProgress, warn: Warn
) -> Iterator[UpscaleResult]:
    """Enlarge photographs by workers; yields what became of each as they are done.

    Args:
        workers: those of the cluster.
        plan: every photograph and the location of its result, before `_s0` and the like.
        job: what is done to each; its model is on the CPU.
        progress: told how far it is.
        warn: never called, for what is noteworthy comes with the results.
    """
    windows = [plan[first : first + WINDOW] for first in range(0, len(plan), WINDOW)]
    groups = partial(_groups, replace(job, model=copy.deepcopy(job.model).to("meta")))  # without the weights
    missing = dict.fromkeys(source for source, _ in plan)
    for results in workers.run(windows, groups, partial(_Enlarger, job)):
        for result in results:
            del missing[result.path]
            yield result
            progress(result.path.name, len(plan) - len(missing), 0, 0)
    for source in missing:
        yield UpscaleResult(source, failure=f"{source}: its worker died each time, perhaps for want of memory")


def _groups(job: Job, window: Sequence[tuple[Path | Remote, Path | Remote]]) -> Iterator[list[_Entry]]:
    """The photographs of a window as the groups that are computed together; those that need no more, as one group."""
    looked = (_look(_Entry(source, target), job) for source, target in window)
    settled = []
    for group in group_by_key(looked, lambda pair: batch_key(pair[1]), lambda pair: pair[1].batch_limit, WINDOW):
        entries = [entry for entry, _ in group]
        if entries[0].done or entries[0].failure is not None:
            settled += entries
        else:
            yield entries
    if settled:
        yield settled


def _look(entry: _Entry, job: Job) -> tuple[_Entry, QueuedPhoto]:
    """What can be known of a photograph before its turn."""
    with TemporaryDirectory(prefix="ncsr-") as folder:
        copied = _LocalCopy(entry, Path(folder))
        photograph = copied.photograph
        try:
            settings, done = manifest_state(entry.source, entry.target, job)
            about = entry.source.about() if isinstance(entry.source, Remote) and not done else None
        except InputError as error:
            return entry._replace(failure=str(error)), photograph
        if not done and (about is None or about[0] <= _LOOK_INTO):
            photograph = prefetch_photo(job, copied.fetch(), BATCH_PIXELS // 2)
        failure = photograph.failure and copied.with_user_paths(photograph.failure)
        return entry._replace(settings=settings, done=done, failure=failure), photograph


class _LocalCopy:
    """A photograph of an entry on this machine: its own files, or copies of those behind URLs.

    Args:
        entry: the photograph, with the locations that the user knows.
        folder: where copies lie, those of this photograph alone.

    Attributes:
        entry: as above.
        photograph: the photograph with its paths on this machine.
    """

    def __init__(self, entry: _Entry, folder: Path) -> None:
        source, target, settings, done, failure = self.entry = entry
        path = folder / "source" / source.name if isinstance(source, Remote) else source
        result = folder / "results" / target.name if isinstance(target, Remote) else target
        self.photograph = QueuedPhoto(path, result, settings=settings, done=done, failure=failure)

    def fetch(self) -> QueuedPhoto:
        """Copy the photograph to here, if it lies elsewhere and is needed."""
        photograph, source = self.photograph, self.entry.source
        if isinstance(source, Remote) and not photograph.done and photograph.failure is None:
            photograph.path.parent.mkdir(parents=True)
            try:
                source.fetch(photograph.path)
            except InputError as error:
                return replace(photograph, failure=str(error))
        return photograph

    def stored(self, result: UpscaleResult, job: Job) -> UpscaleResult:
        """The result with its files where they belong, and with the names that the user knows."""
        paths, failure = [], result.failure
        try:
            paths = self._store(job) if result.paths else []
        except InputError as error:
            failure = str(error)
        notes = [self.with_user_paths(note) for note in result.notes]
        return UpscaleResult(self.entry.source, result.skipped, paths, notes, failure and self.with_user_paths(failure))

    def _store(self, job: Job) -> list[Path | Remote]:
        """Copy the result files from here, if they belong elsewhere, and then the manifest; returns where they are."""
        here, target = self.photograph.target, self.entry.target
        if isinstance(target, Remote):
            remove_manifest(target)
            for path, name in zip(job.names(here), job.names(target), strict=True):
                name.store(path)
            if manifest_path(here).is_file():
                manifest_path(target).store(manifest_path(here))
        return job.names(target)

    def with_user_paths(self, sentence: str) -> str:
        """A sentence with the names that the user knows."""
        for path, name in ((self.photograph.path, self.entry.source), (self.photograph.target, self.entry.target)):
            sentence = sentence.replace(str(path.parent), str(name.parent)) if isinstance(name, Remote) else sentence
        return sentence


class _Enlarger:
    """A worker's model and what it does with it."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = replace(job, model=job.model.to(device))

    def __call__(self, group: Sequence[_Entry]) -> list[UpscaleResult]:
        """Enlarge a group of photographs, and tell what became of each."""
        results: list[UpscaleResult] = []
        warnings: list[str] = []
        with TemporaryDirectory(prefix="ncsr-") as folder:
            copies = [_LocalCopy(entry, Path(folder, str(i))) for i, entry in enumerate(group)]
            by_path: dict[Path | Remote, _LocalCopy] = {copied.photograph.path: copied for copied in copies}
            try:
                photographs = [copied.fetch() for copied in copies]
                for result in enlarge_all(photographs, self._job, lambda *_: None, warnings.append):
                    result = result._replace(notes=[*warnings, *result.notes])
                    warnings.clear()
                    results.append(by_path.pop(result.path).stored(result, self._job))
            except Exception as error:  # what ends a run on one machine is not to end it on a hundred
                failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
                sources = [copied.entry.source for copied in by_path.values()]
                results += [UpscaleResult(source, failure=f"{source}: {failure}") for source in sources]
        return results
