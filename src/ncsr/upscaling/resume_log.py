"""Resuming within one image: a hidden folder with its pixels and a log of finished tiles outlives a stopped run."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from ncsr.config import FrozenModel
from ncsr.errors import InputError, SamplingError, UnreadableError
from ncsr.runtime.files import explain_write_errors, hidden_name, make_folder
from ncsr.upscaling.canvas import Canvas

_LOG, _PIXELS = "journal.jsonl", "pixels"

Rectangle = tuple[int, int, int, int]
"""Top, left, bottom, right."""


class _Line(FrozenModel):
    """A tile that was done, and the samples that are not finite there."""

    attempt: int
    tile: Rectangle
    bad: tuple[int, ...]


class ResumeLog:
    """The finished tiles of an image, also as a file: a line of settings, then a line per tile.

    A tile's line is written after its pixels are safely on the disk.

    Args:
        folder: of the file; None keeps no file. An existing file counts only if it has the same settings.
        settings: everything that decides the pixels.
        canvas: holds the pixels, and is synchronised with the disk before each line; if it is fresh, an existing file
            does not count.

    Attributes:
        resumed: whether an earlier run left finished tiles.

    Raises:
        InputError: the file cannot be made.
    """

    def __init__(
        self, folder: Path | None = None, settings: Mapping[str, Any] | None = None, canvas: Canvas | None = None
    ) -> None:
        self._path, self._canvas = None if folder is None else folder / _LOG, canvas
        self._done: dict[int, set[Rectangle]] = defaultdict(set)
        self._bad: dict[int, set[int]] = defaultdict(set)
        before, lines = _read(self._path)
        self.resumed = before == settings and bool(lines) and not (canvas and canvas.fresh)
        for line in lines if self.resumed else []:
            self._note(line)
        if self._path is not None:
            kept = lines if self.resumed else []  # without a last line that was cut short
            texts = [json.dumps(settings), *(line.model_dump_json() for line in kept)]
            with explain_write_errors(self._path, "choose another -o"):
                self._path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")

    def add_tile(self, attempt: int, tile: Rectangle, bad: list[int]) -> None:
        """Note that all samples of a tile are on the canvas; those in `bad` are not finite there."""
        line = _Line(attempt=attempt, tile=tile, bad=tuple(bad))
        self._note(line)
        if self._path is not None:
            with explain_write_errors(self._path, "make room there, then start again: it goes on"):
                if self._canvas is not None:
                    self._canvas.sync()
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line.model_dump_json() + "\n")

    def has_tile(self, attempt: int, tile: Rectangle) -> bool:
        """Whether a tile is done, by itself or as a part of a larger one."""
        done = self._done[attempt]
        top, left, bottom, right = tile
        return tile in done or any(t <= top and l <= left and bottom <= b and right <= r for t, l, b, r in done)

    def bad(self, attempt: int) -> list[int]:
        """The samples that were not finite in some tile."""
        return sorted(self._bad[attempt])

    def _note(self, line: _Line) -> None:
        self._done[line.attempt].add(line.tile)
        self._bad[line.attempt].update(line.bad)


def scratch_folder(target: Path) -> Path:
    """The hidden folder for the pixels and the log of a photograph in tiles until its result `target` is written."""
    return target.with_name(hidden_name(f".{target.name}.scratch"))


def resumable_seed(target: Path, settings: Mapping[str, Any]) -> int | None:
    """The seed of a run that was stopped before it had written `target`.

    None if there is no such run, or its `settings` other than the seed differ.
    """
    return seed_in(_read(scratch_folder(target) / _LOG)[0], settings)


def seed_in(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> int | None:
    """The seed in `stored`, if all other `settings` are in it with the same values; else None."""
    seed = stored.get("seed")
    same = all(key in stored and stored[key] == value for key, value in settings.items() if key != "seed")
    return seed if same and isinstance(seed, int) and seed >= 0 else None


class Scratch(NamedTuple):
    """A hidden folder that is to outlive an interruption.

    Attributes:
        folder: its path; `open` makes it.
        photograph: identifies the photograph: name, size and time of its file.
    """

    folder: Path
    photograph: str

    def open(
        self, shape: tuple[int, int, int, int], dtype: np.dtype[Any], settings: Mapping[str, Any]
    ) -> tuple[Canvas, ResumeLog]:
        """A canvas and its log, with the tiles that an earlier run with the same `settings` finished.

        Raises:
            InputError: the folder or one of its files cannot be made, or is a link to somewhere else.
        """
        for path in (self.folder, self.folder / _PIXELS, self.folder / _LOG):
            if path.is_symlink():
                raise InputError(f"{path} is a symbolic link, through which nothing is written: remove it")
        canvas = Canvas(shape, dtype, make_folder(self.folder) / _PIXELS)
        own = {"photograph": self.photograph, "shape": list(shape), "dtype": dtype.name}
        return canvas, ResumeLog(self.folder, {**settings, **own}, canvas)


@contextmanager
def scratch_for(
    path: Path,
    target: Path,
    size: tuple[int, int],
    side: int,
    warn: Callable[[str], None],
    page: int | None = None,
) -> Iterator[Scratch | None]:
    """The scratch folder for a photograph in several tiles; None for one in one piece, which is not resumed.

    The folder is kept when the body is interrupted, and removed when it ends or can never succeed.

    Args:
        path: of the photograph.
        target: of its result, before `_s0` and the like.
        size: (H, W) of the photograph.
        side: of the tiles, LR pixels.
        warn: called with a sentence on how to resume, when Ctrl-C stops the body.
        page: of the photograph's file.
    """
    folder = scratch_folder(target)
    if side >= max(size) and not folder.exists():
        yield None
        return
    about = path.stat()
    try:
        number = "" if page in (None, 1) else f" page {page}"
        yield Scratch(folder, f"{path.name} {about.st_size} {about.st_mtime_ns}{number}")
    except KeyboardInterrupt:
        warn(f"stopped: the same command goes on from here, with what {folder} holds")
        raise
    except (SamplingError, UnreadableError):  # would fail again
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except InputError:
        with suppress(OSError):
            folder.rmdir()  # if there was no room for anything
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path | None) -> tuple[dict[str, Any], list[_Line]]:
    """The settings and the lines that follow, up to the first damaged one; no settings where there is no such file."""
    if path is None or not path.is_file():
        return {}, []
    text, lines = path.read_text(encoding="utf-8", errors="replace"), list[_Line]()
    first, *others = text[: text.rfind("\n") + 1].splitlines() or [""]
    try:
        settings = json.loads(first)
    except (ValueError, RecursionError):
        return {}, []
    with suppress(ValidationError):
        for line in others:
            lines.append(_Line.model_validate_json(line))
    return (settings, lines) if isinstance(settings, dict) else ({}, [])
