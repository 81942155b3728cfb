"""Photographs enlarged by the workers of a cluster, bit for bit as `ncsr.upscaling.pipeline` does it on one machine.

The plan is cut into windows of photographs. Any machine opens the photographs of a window and groups them into batches,
as one machine would; a worker then computes a group. Nothing else influences the results, so a group whose worker died
is computed again with the same results. Files behind URLs are copied to the worker, and its results back.
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
from ncsr.upscaling.pipeline import BATCH_PIXELS, GROUPING_SPAN, PhotoProgress, batch_key, enlarge_all, prefetch_photo

_LOOK_INTO = 2**20  # bytes: only files behind URLs up to this size are fetched to see whether they fit into a batch


class _Entry(NamedTuple):
    """A photograph of the plan, and what is known of it before its turn: see `QueuedPhoto`."""

    source: Path | Remote
    target: Path | Remote
    settings: Mapping[str, Any] | None = None
    done: bool = False
    failure: str | None = None


def enlarge_by(
    workers: Workers, plan: Sequence[tuple[Path | Remote, Path | Remote]], job: Job, progress: PhotoProgress
) -> Iterator[UpscaleResult]:
    """Enlarge photographs by workers; yields the result of each as soon as it is done.

    Args:
        workers: those of the cluster.
        plan: every photograph and the location of its result, before `_s0` and the like.
        job: what is done to each; its model is on the CPU.
        progress: called after each photograph.
    """
    windows = [plan[first : first + GROUPING_SPAN] for first in range(0, len(plan), GROUPING_SPAN)]
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
    """The photographs of a window in groups to be computed as batches; those already done or failed come last."""
    looked = (_look(_Entry(source, target), job) for source, target in window)
    settled = []
    for group in group_by_key(looked, lambda pair: batch_key(pair[1]), lambda pair: pair[1].batch_limit, GROUPING_SPAN):
        entries = [entry for entry, _ in group]
        if entries[0].done or entries[0].failure is not None:
            settled += entries
        else:
            yield entries
    if settled:
        yield settled


def _look(entry: _Entry, job: Job) -> tuple[_Entry, QueuedPhoto]:
    """What can be known of a photograph before it is computed."""
    with TemporaryDirectory(prefix="ncsr-") as folder:
        photo = _on_this_machine(entry, Path(folder))
        try:
            settings, done = manifest_state(entry.source, entry.target, job)
            about = entry.source.size_and_version() if isinstance(entry.source, Remote) and not done else None
        except InputError as error:
            return entry._replace(failure=str(error)), photo
        if not done and (about is None or about[0] <= _LOOK_INTO):
            photo = prefetch_photo(job, _fetched(entry, photo), BATCH_PIXELS // 2)
        failure = photo.failure and _with_user_paths(photo.failure, entry, photo)
        return entry._replace(settings=settings, done=done, failure=failure), photo


def _on_this_machine(entry: _Entry, folder: Path) -> QueuedPhoto:
    """The photograph with paths on this machine: its own or, for files behind URLs, those of copies in `folder`."""
    source, target, settings, done, failure = entry
    path = folder / "source" / source.name if isinstance(source, Remote) else source
    result = folder / "results" / target.name if isinstance(target, Remote) else target
    return QueuedPhoto(path, result, settings=settings, done=done, failure=failure)


def _fetched(entry: _Entry, photo: QueuedPhoto) -> QueuedPhoto:
    """The photograph, copied to this machine if it lies elsewhere and is needed."""
    if isinstance(entry.source, Remote) and not photo.done and photo.failure is None:
        photo.path.parent.mkdir(parents=True)
        try:
            entry.source.fetch(photo.path)
        except InputError as error:
            return replace(photo, failure=str(error))
    return photo


def _stored(result: UpscaleResult, entry: _Entry, photo: QueuedPhoto, job: Job) -> UpscaleResult:
    """The result, its files stored at their target (the manifest last), its sentences with the user's file names."""
    target = entry.target
    paths, failure = job.names(target) if result.paths else [], result.failure
    if paths and isinstance(target, Remote):
        try:
            remove_manifest(target)
            for path, name in zip(job.names(photo.target), job.names(target), strict=True):
                name.store(path)
            if manifest_path(photo.target).is_file():
                manifest_path(target).store(manifest_path(photo.target))
        except InputError as error:
            paths, failure = [], str(error)
    notes = [_with_user_paths(note, entry, photo) for note in result.notes]
    failure = failure and _with_user_paths(failure, entry, photo)
    return result._replace(path=entry.source, paths=paths, notes=notes, failure=failure)


def _with_user_paths(sentence: str, entry: _Entry, photo: QueuedPhoto) -> str:
    """A sentence with the user's file names in place of those of local copies."""
    for path, name in ((photo.path, entry.source), (photo.target, entry.target)):
        sentence = sentence.replace(str(path.parent), str(name.parent)) if isinstance(name, Remote) else sentence
    return sentence


class _Enlarger:
    """What a worker runs: holds the model on the worker's device, and enlarges one group after the other."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = replace(job, model=job.model.to(device))

    def __call__(self, group: Sequence[_Entry]) -> list[UpscaleResult]:
        """Enlarge a group of photographs; returns the result of each."""
        results: list[UpscaleResult] = []
        warnings: list[str] = []
        with TemporaryDirectory(prefix="ncsr-") as folder:
            left: dict[Path | Remote, tuple[_Entry, QueuedPhoto]] = {}
            for i, entry in enumerate(group):
                photo = _on_this_machine(entry, Path(folder, str(i)))
                left[photo.path] = entry, photo
            try:
                fetched = [_fetched(entry, photo) for entry, photo in left.values()]
                for result in enlarge_all(fetched, self._job, lambda *_: None, warnings.append):
                    result = result._replace(notes=[*warnings, *result.notes])
                    warnings.clear()
                    results.append(_stored(result, *left.pop(result.path), self._job))
            except Exception as error:  # what ends a run on one machine is not to end it on a hundred
                failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
                results += [UpscaleResult(e.source, failure=f"{e.source}: {failure}") for e, _ in left.values()]
        return results
