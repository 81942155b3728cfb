"""Visits to the page: what is kept for each visitor until they leave, a photograph and a folder of pictures."""

from __future__ import annotations

import math
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ncsr.errors import InputError
from ncsr.latents import Latents

IDLE_SECONDS = 600  # without a request, after which a visit ends; an open page sends one each minute
MOST_PICTURES = 48
_MOST_VISITS = 200


class Drawn(NamedTuple):
    """How a sample's latents are drawn: sample `number`, counted from 0, of a seed, at a temperature."""

    seed: int
    number: int
    temperature: float


@dataclass
class Picture:
    """A picture of a visitor; its pixels are in the file `name`.png of the visitor's folder.

    Attributes:
        name: of its files, given by the server.
        label: its title on the page.
        made: a clause that says how it was made.
        latents: how the latents that it was decoded from were drawn, or their file; None if the flow did not make it.
        lr_psnr: LR-PSNR in dB: how well its reduction agrees with the photograph; infinity if exactly.
    """

    name: str
    label: str
    made: str
    latents: Drawn | Path | None
    lr_psnr: float


def decibels(psnr: float, digits: int) -> float | None:
    """A PSNR for JSON, rounded; None for infinity."""
    return round(psnr, digits) if math.isfinite(psnr) else None


class Photograph(NamedTuple):
    """A photograph that a visitor enlarges.

    Attributes:
        title: the name of its file, without suffix.
        lr: (1, 3, h, w) in [0, 1].
        icc: its colour profile.
        sha256: of its file; None for one that the server made.
    """

    title: str
    lr: Tensor
    icc: bytes | None = None
    sha256: str | None = None


@dataclass
class Visit:
    """What is kept for one visitor.

    Attributes:
        id: a secret that only this visitor's browser knows.
        folder: of the visitor's files.
        photograph: None before one was chosen.
        reference: the high-resolution photograph (1, 3, s h, s w) that it was reduced from, if there is one.
        model: the name of the model that made the pictures.
        pictures: by name.
        texture: latents of an encoded reference, to be used for another photograph.
        ended: set when the visitor has left, to stop a running job.
    """

    id: str
    folder: Path
    seen: float = field(default_factory=time.monotonic)
    photograph: Photograph | None = None
    reference: Tensor | None = None
    model: str = ""
    pictures: dict[str, Picture] = field(default_factory=dict)
    texture: Latents | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    _names: int = 0

    def new_name(self, kind: str) -> str:
        """A new name for a file, `kind` with a number; no file of this visit has had it."""
        self._names += 1
        return f"{kind}{self._names}"

    def picture(self, name: str) -> Picture:
        """The picture of this name.

        Raises:
            InputError: there is none.
        """
        if name not in self.pictures:
            raise InputError("this picture is no longer there: choose another one")
        return self.pictures[name]

    def shown(self) -> list[Picture]:
        """The pictures in the order of the page, which is that of their names."""
        return sorted([*self.pictures.values()], key=lambda picture: int(picture.name[1:]))

    def pixels(self, picture: Picture) -> NDArray[np.uint8]:
        """The pixels (H, W, 3) of a picture."""
        with Image.open(self.folder / f"{picture.name}.png") as file:
            return np.array(file)

    def file(self, name: str) -> Path | None:
        """A file of this visitor, if there is one of exactly this name in their folder."""
        return next((path for path in self.folder.iterdir() if path.name == name), None)

    def keep_only(self, names: list[str]) -> None:
        """Remove all pictures but these, and all files that belong to no picture."""
        self.pictures = {name: picture for name, picture in self.pictures.items() if name in names}
        for path in list(self.folder.iterdir()):
            if path.name.partition(".")[0].partition("-")[0] not in self.pictures:
                path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a picture and its files."""
        self.pictures.pop(name)
        for path in self.folder.glob(f"{name}[.-]*"):
            path.unlink(missing_ok=True)

    def choose(self, photograph: Photograph, reference: Tensor | None = None) -> None:
        """Begin with another photograph."""
        self.keep_only([])
        self.photograph, self.reference = photograph, reference


class Visits:
    """All visitors.

    Args:
        root: the folder that has a folder for each.
        on_leave: called with each visit that ends.
    """

    def __init__(self, root: Path, on_leave: Callable[[Visit], None]) -> None:
        self._root, self._visits, self._lock = root, dict[str, Visit](), threading.Lock()
        self._on_leave = on_leave

    def open(self) -> Visit:
        """A new visit.

        Raises:
            InputError: there are too many.
        """
        with self._lock:
            if len(self._visits) >= _MOST_VISITS:
                raise InputError(f"{_MOST_VISITS} people are here already: try again later")
            visit = Visit(secrets.token_hex(16), self._root / secrets.token_hex(8))
            visit.folder.mkdir(mode=0o700)
            self._visits[visit.id] = visit
        return visit

    def get(self, id: str | None) -> Visit:
        """The visit of this secret.

        Raises:
            InputError: there is none; it may have ended.
        """
        with self._lock:
            visit = self._visits.get(id or "")
            if visit is None:
                raise InputError("this visit has ended and its pictures are gone: load the page again")
            visit.seen = time.monotonic()
        return visit

    def leave(self, id: str) -> None:
        """End a visit: its pictures are removed, and its job stops at the next tile."""
        with self._lock:
            visit = self._visits.pop(id, None)
        if visit is not None:
            visit.ended.set()
            self._on_leave(visit)
            shutil.rmtree(visit.folder, ignore_errors=True)

    def leave_idle(self) -> None:
        """End all visits without a request for `IDLE_SECONDS`."""
        with self._lock:
            idle = [v.id for v in self._visits.values() if time.monotonic() - v.seen > IDLE_SECONDS]
        for id in idle:
            self.leave(id)
