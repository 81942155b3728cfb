"""The paper's tables and figures as data: every number as it is printed, and where in the paper it is."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from ncsr.config import FrozenModel
from ncsr.errors import InputError

PAPER = (
    "Kim and Son, Noise Conditional Flow Model for Learning the Super-Resolution Space, CVPR workshops 2021, "
    "arXiv:2106.04428"
)
SAMPLES = 10
"""Samples of every photograph in the paper (section 4.1)."""
_FOLDER = Path(__file__).parent / "published"


class Column(FrozenModel):
    """A measure, and what the paper calls it."""

    measure: str
    label: str


class PaperRow(FrozenModel):
    """A row of a table of the paper, or what a figure shows: a method, a team or an ablation."""

    role: str
    """Its name on the command line, as in --models ROLE=MODEL."""
    label: str
    scale: int | None = None
    """The scale, where it is not that of the item."""
    flow: bool | None = None
    """Whether it has a flow; None: unknown."""
    recipe: str | None = None
    """The bundled recipe that follows the paper."""
    trained_on: str | None = None
    """The photographs that it was trained on, as far as the paper says."""
    temperature: float | None = None
    """The temperature that the paper samples it at."""
    marks: dict[str, bool] = Field(default_factory=dict)
    """For an ablation: whether it has each part, by name."""
    figures: dict[str, str] = Field(default_factory=dict)
    """The paper's figures by measure, with the digits that are printed."""


class Item(FrozenModel):
    """A table or figure of the paper."""

    name: str
    kind: Literal["table", "comparison", "worst", "samples"]
    caption: str
    location: str
    """Where it stands in the paper, as in "Table 1, section 4.2"."""
    scale: int
    transposed: bool = False
    """Whether methods are its columns."""
    data: str
    """The photographs that the paper measures, in words."""
    images: int | None = None
    """How many there are; None if unknown."""
    photographs: dict[str, str | None] = Field(default_factory=dict)
    """The photographs that a figure shows, by stem, with the number printed under each; None without one."""
    at_least: float | None = None
    """The LR-PSNR that NTIRE requires, dB; None if the item does not mention it."""
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]

    @property
    def title(self) -> str:
        """Its name in the paper, as in "Table 1"."""
        return self.location.partition(",")[0]

    @property
    def measures(self) -> list[str]:
        """The names of its columns' measures."""
        return [column.measure for column in self.columns]

    @property
    def scales(self) -> list[int]:
        """The scales of all its rows."""
        return sorted({self.scale_of(row) for row in self.rows})

    def scale_of(self, row: PaperRow) -> int:
        """The scale that a row enlarges by."""
        return row.scale or self.scale

    def row(self, role: str) -> PaperRow:
        """The row of a role, whatever its case.

        Raises:
            InputError: there is none.
        """
        for row in self.rows:
            if row.role.casefold() == role.casefold():
                return row
        raise InputError(f"{self.name} has no {role!r}: its roles are {', '.join(s.role for s in self.rows)}")


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
