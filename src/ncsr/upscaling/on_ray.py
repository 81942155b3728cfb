"""Photographs enlarged by the workers of a cluster, bit for bit as `ncsr.upscaling.pipeline` does it on one machine.

The plan is cut into windows; any machine looks into the photographs of a window and tells which of them are computed
together, as one machine would; a worker then does such a group, and nothing else decides a bit of the results. Files
behind URLs are copied to the worker and from it. Whatever a worker wrote before it died is written again, the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ncsr.errors import InputError
from ncsr.runtime.ray_pool import Workers
from ncsr.runtime.remote import Remote, parse_location
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

_Told = dict[str, Any]
"""What became of a photograph, as text: source, made, results, sentences, failure."""


def enlarge_by(
    workers: Workers, plan: Sequence[tuple[Path | Remote, Path | Remote]], job: Job, advance: PhotoProgress, say: Warn
) -> Iterator[UpscaleResult]:
    """Enlarge photographs by workers; yields what became of each as they are done.

    Args:
        workers: of the cluster.
        plan: every photograph and the path of its result, before `_s0` and the like.
        job: what is done to each, its model on the CPU.
        advance: told how far it is.
        say: not told anything: sentences come with the outcomes.
    """
    entries = [[str(source), str(target)] for source, target in plan]
    pieces = [json.dumps(entries[first : first + WINDOW]) for first in range(0, len(entries), WINDOW)]
    without_weights = replace(job, model=copy.deepcopy(job.model).to("meta"))
    missing = {str(source): source for source, _ in plan}
    for text in workers.run(pieces, partial(_groups, without_weights), _Enlarger, (job,)):
        for told in json.loads(text):
            source = missing.pop(told["source"])
            yield UpscaleResult(source, told["made"], told["results"], told["sentences"], told["failure"])
            advance(source.name, len(plan) - len(missing), 0, 0)
    for source in missing.values():
        yield UpscaleResult(source, False, [], [], f"{source}: its worker died each time, perhaps for want of memory")


def _groups(job: Job, piece: str) -> Iterator[str]:
    """The photographs of a window as the groups that are computed together; those that need no more, as one group."""
    looked = (_look(_Entry(*entry), job) for entry in json.loads(piece))
    settled = []
    for group in group_by_key(looked, lambda pair: batch_key(pair[1]), lambda pair: pair[1].batch_limit, WINDOW):
        entries = [entry for entry, _ in group]
        if entries[0].made or entries[0].failure is not None:
            settled += entries
        else:
            yield json.dumps(entries)
    if settled:
        yield json.dumps(settled)


class _Entry(NamedTuple):
    """A photograph of the plan, and what is known of it before its turn: see `QueuedPhoto`."""

    source: str
    target: str
    settings: Mapping[str, Any] | None = None
    made: bool = False
    failure: str | None = None


class _Copy:
    """A photograph of an entry on this machine: its own files, or copies.

    Args:
        entry: names the files.
        folder: for copies, of this photograph alone.

    Attributes:
        source: where the photograph lies.
        target: where the results belong.
        photograph: with the paths of this machine.
    """

    def __init__(self, entry: _Entry, folder: Path) -> None:
        self.source, self.target = parse_location(entry.source), parse_location(entry.target)
        path = folder / "source" / self.source.name if isinstance(self.source, Remote) else self.source
        target = folder / "results" / self.target.name if isinstance(self.target, Remote) else self.target
        self.photograph = QueuedPhoto(path, target, None, 1, entry.settings, entry.made, entry.failure)

    def fetch(self) -> QueuedPhoto:
        """Copy the photograph to here, if it lies elsewhere."""
        photograph = self.photograph
        if isinstance(self.source, Remote) and not photograph.done and photograph.failure is None:
            photograph.path.parent.mkdir(parents=True)
            try:
                self.source.fetch(photograph.path)
            except InputError as error:
                return replace(photograph, failure=str(error))
        return photograph

    def store(self, job: Job) -> list[str]:
        """Copy the results from here, if they belong elsewhere, and then the record; returns where they are."""
        names: Sequence[Path | Remote] = job.names(self.target)
        if isinstance(self.target, Remote):
            remove_manifest(self.target)
            here = self.photograph.target
            for path, name in zip(job.names(here), job.names(self.target), strict=True):
                name.store(path)
            if manifest_path(here).is_file():
                manifest_path(self.target).store(manifest_path(here))
        return [str(name) for name in names]

    def told(self, result: UpscaleResult, job: Job) -> _Told:
        """What became of the photograph, its results stored, with the names that the user knows."""
        results, failure = [], result.failure
        try:
            results = self.store(job) if result.paths else []
        except InputError as error:
            failure = str(error)
        sentences = [self.public(sentence) for sentence in result.notes]
        return _told(str(self.source), result.skipped, results, sentences, failure and self.public(failure))

    def public(self, sentence: str) -> str:
        """A sentence with the names that the user knows."""
        for path, name in ((self.photograph.path, self.source), (self.photograph.target, self.target)):
            sentence = sentence.replace(str(path.parent), str(name.parent)) if isinstance(name, Remote) else sentence
        return sentence


def _look(entry: _Entry, job: Job) -> tuple[_Entry, QueuedPhoto]:
    """What can be known of a photograph before its turn."""
    with TemporaryDirectory(prefix="ncsr-") as folder:
        copied = _Copy(entry, Path(folder))
        source, photograph = copied.source, copied.photograph
        try:
            settings, made = manifest_state(source, copied.target, job)
            about = source.about() if isinstance(source, Remote) and not made else None
        except InputError as error:
            return entry._replace(failure=str(error)), photograph
        if not made and (about is None or about[0] <= _LOOK_INTO):
            photograph = prefetch_photo(job, copied.fetch(), BATCH_PIXELS // 2)
        failure = photograph.failure and copied.public(photograph.failure)
        return entry._replace(settings=settings, made=made, failure=failure), photograph


class _Enlarger:
    """A worker's model and what it does with it."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = replace(job, model=job.model.to(device))

    def __call__(self, piece: str) -> str:
        """Enlarge a group of photographs, and tell what became of each."""
        entries = [_Entry(*entry) for entry in json.loads(piece)]
        told: dict[str, _Told] = {}
        noted: list[str] = []
        with TemporaryDirectory(prefix="ncsr-") as folder:
            copies = [_Copy(entry, Path(folder, str(i))) for i, entry in enumerate(entries)]
            by_path = {str(copied.photograph.path): copied for copied in copies}
            try:
                photographs = [copied.fetch() for copied in copies]
                for result in enlarge_all(photographs, self._job, lambda *_: None, noted.append):
                    copied = by_path[str(result.path)]
                    result = result._replace(notes=[*noted, *result.notes])
                    noted.clear()
                    told[str(copied.source)] = copied.told(result, self._job)
            except Exception as error:  # what ends a run on one machine is not to end it on a hundred
                failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
                for entry in entries:
                    told.setdefault(entry.source, _told(entry.source, failure=f"{entry.source}: {failure}"))
        return json.dumps(list(told.values()))


def _told(
    source: str,
    made: bool = False,
    results: Sequence[str] = (),
    sentences: Sequence[str] = (),
    failure: str | None = None,
) -> _Told:
    return {"source": source, "made": made, "results": results, "sentences": sentences, "failure": failure}
