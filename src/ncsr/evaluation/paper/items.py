"""The paper's tables and figures as data: every number as it is printed, and where it stands."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from ncsr.errors import InputError

PAPER = (
    "Kim and Son, Noise Conditional Flow Model for Learning the Super-Resolution Space, CVPR workshops 2021, "
    "arXiv:2106.04428"
)
SAMPLES = 10
"""Of every photograph (section 4.1)."""
_FOLDER = Path(__file__).parent / "published"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """A measure, and what the paper calls it."""

    measure: str
    label: str


class Subject(_Frozen):
    """A method, team or ablation of a table or figure."""

    role: str
    """By which the command names it."""
    label: str
    scale: int | None = None
    """Where it is not that of the item."""
    flow: bool | None = None
    """Whether it has a flow; None: unknown."""
    recipe: str | None = None
    """The bundled recipe that follows the paper."""
    trained_on: str | None = None
    """As far as the paper says."""
    temperature: float | None = None
    """That the paper samples it at."""
    marks: dict[str, bool] = {}
    """Parts that it has or lacks."""
    figures: dict[str, str] = {}
    """By measure, with the digits that are printed."""


class Item(_Frozen):
    """A table or figure of the paper."""

    name: str
    kind: Literal["table", "comparison", "worst", "samples"]
    caption: str
    place: str
    scale: int
    transposed: bool = False
    """Whether methods are its columns."""
    data: str
    images: int | None = None
    photographs: dict[str, str | None] = {}
    """Those shown, and the figure printed under each."""
    at_least: float | None = None
    """LR-PSNR that NTIRE asks for, dB."""
    columns: tuple[Column, ...]
    subjects: tuple[Subject, ...]

    @property
    def title(self) -> str:
        """As in "Table 1"."""
        return self.place.partition(",")[0]

    @property
    def scales(self) -> list[int]:
        """Of all its subjects."""
        return sorted({self.scale_of(subject) for subject in self.subjects})

    def scale_of(self, subject: Subject) -> int:
        """By which a subject enlarges."""
        return subject.scale or self.scale

    def subject(self, role: str) -> Subject:
        """That of a role, whatever its case.

        Raises:
            InputError: there is none.
        """
        for subject in self.subjects:
            if subject.role.casefold() == role.casefold():
                return subject
        raise InputError(f"{self.name} has no {role!r}: its roles are {', '.join(s.role for s in self.subjects)}")


def items() -> list[str]:
    """The names of all tables and figures that can be made again."""
    return sorted((path.stem for path in _FOLDER.glob("*.yaml")), key=lambda name: (name[0] != "t", name))


def read_item(name: str) -> Item:
    """A table or figure.

    Raises:
        InputError: there is none of this name.
    """
    if name not in items():
        close = difflib.get_close_matches(name, items(), 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"cannot reproduce {name!r}: {hint}There are {', '.join(items())}")
    content = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Item.model_validate({"name": name, **content})
