"""What is done of an image of many tiles, on disk, so that a run that was stopped can go on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ncsr.errors import InputError

JOURNAL = "journal.jsonl"

Rectangle = tuple[int, int, int, int]
"""Top, left, bottom, right."""


class ResumeLog:
    """A file of lines: the settings, then what was done, each line written when its work is safe.

    Args:
        path: of the file; None keeps no file. What it holds counts only if it was begun with the same settings.
        settings: all that decides the pixels.
        sync: makes the work that was done outlive a crash of the machine; called before each line.

    Attributes:
        resumed: whether there was something to go on with.

    Raises:
        InputError: the file cannot be made.
    """

    def __init__(
        self,
        path: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        sync: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._sync = path, sync
        self._done: dict[int, set[Rectangle]] = {}
        self._bad: dict[int, set[int]] = {}
        self._finished: dict[int, list[float]] = {}
        begun, *lines = _lines(path) or [{}]
        self.resumed = begun == settings and bool(lines)
        for line in lines if self.resumed else []:
            self._note(line)
        if path is not None:
            kept = [settings, *lines] if self.resumed else [settings]  # without a last line that was cut short
            try:
                path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            except OSError as error:
                raise InputError(f"cannot write {path}: {error.strerror or error}; choose another -o") from None

    def add_tile(self, attempt: int, tile: Rectangle, bad: list[int]) -> None:
        """All samples of a tile are on the canvas; those in `bad` are not finite there."""
        self._add({"attempt": attempt, "tile": tile, "bad": bad})

    def add_finished(self, sample: int, figures: list[float]) -> None:
        """A whole sample has got its last touch, measured by these figures."""
        self._add({"finished": sample, "figures": figures})

    def has_tile(self, attempt: int, tile: Rectangle) -> bool:
        """Whether a tile is done, as such or as a part of a larger one."""
        done = self._done.get(attempt, set())
        if tile in done:
            return True
        top, left, bottom, right = tile
        return any(t <= top and l <= left and bottom <= b and right <= r for t, l, b, r in done)

    def bad(self, attempt: int) -> list[int]:
        """The samples that were not finite in some tile."""
        return sorted(self._bad.get(attempt, ()))

    def finished(self, sample: int) -> list[float] | None:
        """The figures of a finished sample, else None."""
        return self._finished.get(sample)

    def _add(self, line: dict[str, Any]) -> None:
        self._note(line)
        if self._path is not None:
            self._sync()
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _note(self, line: dict[str, Any]) -> None:
        if "finished" in line:
            self._finished[line["finished"]] = line["figures"]
            return
        self._done.setdefault(line["attempt"], set()).add(tuple(line["tile"]))
        self._bad.setdefault(line["attempt"], set()).update(line["bad"])


def read_settings(path: Path) -> dict[str, Any] | None:
    """The settings that a journal was begun with; None if there is no journal, or a file that is none."""
    lines = _lines(path)
    return lines[0] if lines and isinstance(lines[0], dict) and isinstance(lines[0].get("seed"), int) else None


def _lines(path: Path | None) -> list[dict[str, Any]]:
    """All lines but a last one that was cut short."""
    if path is None or not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = []
    for line in text.splitlines(keepends=True):
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
        if not line.endswith("\n"):
            lines.pop()
    return lines


def scratch_folder(target: Path) -> Path:
    """Where the result of a large photograph is gathered."""
    return target.with_name(f".{target.name}.scratch")
