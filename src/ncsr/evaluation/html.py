"""HTML by the templates of this folder, which escape all that they are given but for other templates' HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Environment(
    loader=PackageLoader("ncsr.evaluation"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Cell(NamedTuple):
    """A cell of a table: its text, a smaller note behind it, and whether it is the best of its column."""

    text: str
    note: str = ""
    best: bool = False


class Table(NamedTuple):
    """The head of every column but the first, and the lines: a label and the cells of those columns."""

    head: list[Cell]
    lines: list[tuple[str, list[Cell]]]


def figure_cell(text: str, best: bool = False) -> Cell:
    """A cell of a figure that is printed as "1.23 ± 0.45", the interval as its note."""
    number, sign, half = text.partition(" ± ")
    return Cell(number, f"± {half}" if sign else "", best)


def render(template: str, **values: Any) -> Markup:
    """A template of this folder, filled in; escaped already, so that another template takes it as it is."""
    return Markup(_TEMPLATES.get_template(template).render(values))


def render_in_pieces(template: str, **values: Any) -> Iterator[str]:
    """A template of this folder, piece by piece: what the values yield need not be in memory together."""
    return _TEMPLATES.get_template(template).generate(values)


def data_url(picture: bytes, kind: str = "png") -> str:
    """A picture's file as the source of an `img` within the page."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
