"""A table or figure of the paper with this report's figures beside it: Markdown, CSV, JSON and a part of the page."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ncsr.evaluation.html import Cell, Table, data_url, figure_cell, render
from ncsr.evaluation.methods import BICUBIC, ENCODER
from ncsr.evaluation.pairs import Pair
from ncsr.evaluation.paper.differences import MethodForRow, card, differences
from ncsr.evaluation.paper.figures import CROP, Panels, draw, panels_of
from ncsr.evaluation.paper.items import PAPER, Column, Item, PaperRow
from ncsr.evaluation.pictures import RowImages
from ncsr.evaluation.protocol import Row
from ncsr.evaluation.results import MEASURES, Interval, Record, Results, arrow, cell, json_text, plain
from ncsr.evaluation.run import Addition
from ncsr.runtime.files import atomic_path

NONE = "–"
_MEASURES = {m.name: m for m in MEASURES}


class PaperAndOurs(NamedTuple):
    """A figure of the paper and the one measured here, as they are printed."""

    paper: str
    ours: str


class Grid(NamedTuple):
    """Columns' labels; lines of a label and a pair of figures for each column."""

    head: list[str]
    lines: list[tuple[str, list[PaperAndOurs]]]

    @property
    def has_paper(self) -> bool:
        """Whether the paper has any of these figures."""
        return any(pair.paper != NONE for _, pairs in self.lines for pair in pairs)


@dataclass(frozen=True)
class Comparison:
    """A table or figure of the paper, the methods that stand for its rows, and their results; panels by photograph."""

    item: Item
    methods: list[MethodForRow]
    results: Results
    panels: dict[str, Panels]

    @property
    def rows(self) -> dict[str, Row]:
        """The measured rows by role."""
        return {m.paper.role: m.method.row for m in self.methods}

    @property
    def measures(self) -> list[str]:
        """The names of the item's measures."""
        return [column.measure for column in self.item.columns]

    @cached_property
    def grid(self) -> Grid:
        """All figures, the paper's and ours."""
        return _table_grid(self) if self.item.kind == "table" else _figure_grid(self)

    @cached_property
    def differences(self) -> list[str]:
        """A sentence for everything that differs from the paper."""
        return differences(self.item, self.methods, self.results)

    @cached_property
    def cards(self) -> dict[str, str]:
        """The sections on data and training of the models' cards, by model."""
        return {m.method.row.model.removesuffix(ENCODER): text for m in self.methods if (text := card(m))}


class PaperAddition(Addition):
    """A table or figure of the paper as an addition to the report of an evaluation."""

    def __init__(self, item: Item, methods: list[MethodForRow]) -> None:
        self.name, self._item, self._methods = item.name, item, methods

    def panels(self, pair: Pair, shown: list[RowImages]) -> Panels:
        """The pictures that a figure shows of a photograph; none for a table."""
        return {} if self._item.kind == "table" else panels_of(self._item, self._methods, pair, shown)

    def write(self, results: Results, panels: dict[str, Panels]) -> tuple[dict[str, bytes], str]:
        """The files (Markdown, JSON, and a table's CSV or a figure's PNG) by name, and the part of the page."""
        made = Comparison(self._item, self._methods, results, panels)
        png = None if self._item.kind == "table" else draw(self._item, panels, results.records, self._methods)
        files = {"csv": _csv(made).encode()} if png is None else {"png": png}
        files |= {"md": _markdown(made).encode(), "json": _json(made).encode()}
        return {f"{self.name}.{suffix}": content for suffix, content in files.items()}, _html(made, png)


def _table_grid(made: Comparison) -> Grid:
    """A table in the paper's layout; bicubic is added as a last row."""
    item, table = made.item, made.results.table
    found = {role: table[row.name] for role, row in made.rows.items()}
    lines = [(r.label, _pairs(item, r.figures, found.get(r.role, {}))) for r in item.rows]
    head = [_label(column) for column in item.columns]
    if item.at_least is not None:
        head.append(f"LR PSNR ≥ {item.at_least:g}")
    if not item.transposed:
        return Grid(head, [*lines, (BICUBIC, _pairs(item, {}, table[BICUBIC]))])
    marks = [
        (name, [PaperAndOurs("✓" if r.marks[name] else "✗", "") for r in item.rows]) for name in item.rows[0].marks
    ]
    turned = [(label, [pairs[i] for _, pairs in lines]) for i, label in enumerate(head)]
    return Grid([label for label, _ in lines], [*marks, *turned])


def _figure_grid(made: Comparison) -> Grid:
    """The numbers of a figure, by photograph and method."""
    item, lines = made.item, []
    records = [(record["name"].rpartition(".")[0], record) for record in made.results.records]
    for stem, record in records:
        printed = item.photographs.get(stem)
        for entry in made.methods:
            figures = record["figures"][entry.method.row.name]
            found = {name: Interval(value, None, 1) for name, value in figures.items()}
            published = {column.measure: printed for column in item.columns if printed}
            lines.append((f"{record['name']}, {entry.paper.label}", _pairs(item, published, found)))
    for stem, printed in item.photographs.items():
        if printed and stem not in dict(records):
            lines.append((f"{stem} of DIV2K", [PaperAndOurs(printed, NONE) for _ in item.columns]))
    return Grid([_label(column) for column in item.columns], lines)


def _pairs(item: Item, published: dict[str, str], found: dict[str, Interval]) -> list[PaperAndOurs]:
    names = [column.measure for column in item.columns]
    pairs = [PaperAndOurs(published.get(n, NONE), cell(found.get(n), _MEASURES[n])) for n in names]
    if item.at_least is not None:
        name = "ntire_lr_psnr_mean"
        paper = _reached(float(published[name]), item.at_least) if name in published else NONE
        pairs.append(PaperAndOurs(paper, _reached(found[name].mean, item.at_least) if name in found else NONE))
    return pairs


def _reached(decibels: float, least: float) -> str:
    return "yes" if decibels >= least else "no"


def _label(column: Column) -> str:
    return column.label + arrow(_MEASURES[column.measure])


def _markdown(made: Comparison) -> str:
    item, both = made.item, made.grid.has_paper
    head = [text for label in made.grid.head for text in ([f"{label}, paper", "here"] if both else [label])]
    lines = [f"**{item.title}. {item.caption}.**", ""]
    if item.kind != "table":
        lines += [f"![{item.title}]({item.name}.png)", ""]
    lines += ["| | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for label, pairs in made.grid.lines:
        cells = [text for pair in pairs for text in (pair if both else (pair.ours,))]
        lines.append(f"| {label.replace('|', '/')} | " + " | ".join(cells) + " |")
    lines += ["", f"Paper: {PAPER}, {item.location}. Every figure and its origin: {item.name}.json, results.json.", ""]
    lines += ["What differs from the paper, as far as known:", "", *(f"- {text}" for text in made.differences), ""]
    for model, text in made.cards.items():
        lines += [f"From the card of {model}:", "", *(f"> {line}".rstrip() for line in text.splitlines()), ""]
    return "\n".join(lines)


def _html(made: Comparison, png: bytes | None) -> str:
    head, both = made.grid.head, made.grid.has_paper
    columns = [c for label in head for c in (Cell(label, "paper"), Cell("here"))] if both else list(map(Cell, head))
    lines = []
    for label, pairs in made.grid.lines:
        cells = [c for pair in pairs for c in ((Cell(pair.paper),) if both else ()) + (figure_cell(pair.ours),)]
        lines.append((label, cells))
    return render(
        "paper.html",
        item=made.item,
        paper=PAPER,
        absent=NONE,
        table=Table(columns, lines),
        picture=png and data_url(png),
        differences=made.differences,
        cards=made.cards,
    )


def _csv(made: Comparison) -> str:
    """One line per row of the paper."""
    results = made.results
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    origin = ["model", "fingerprint", "temperature", "samples", "seed", "photographs"]
    sides = [f"{name}_{side}" for name in made.measures for side in ("paper", "here", "ci95")]
    writer.writerow(["role", "label", *sides, *origin])
    for paper in made.item.rows:
        line: list[Any] = [paper.role, paper.label]
        row = made.rows.get(paper.role)
        for name in made.measures:
            value = results.table[row.name].get(name) if row else None
            line += [paper.figures[name], *((value.mean, value.half) if value else (None, None))]
        if row:
            line += [row.model, row.fingerprint, row.temperature, row.samples]
            line += [results.settings.protocol.seed, len(results.records)]
        else:
            line += [None] * len(origin)
        writer.writerow(line)
    return buffer.getvalue()


def _json(made: Comparison) -> str:
    """Everything, with what each figure comes from."""
    item, results = made.item, made.results
    settings = results.settings
    content = {
        "item": item.name,
        "caption": item.caption,
        "paper": f"{PAPER}, {item.location}",
        "paper_photographs": item.photographs,
        "ntire_lr_psnr_at_least": item.at_least,
        "command": results.command,
        "ncsr": settings.ncsr,
        "torch": settings.torch,
        "protocol": settings.protocol.model_dump(),
        "results": {"file": "results.json", "sha256": hashlib.sha256(json_text(results).encode()).hexdigest()},
        "folder": results.folder,
        "subjects": [_row_json(made, paper) for paper in item.rows],
        "photographs": [_photograph_json(made, record) for record in results.records],
        "differences": made.differences,
        "cards": made.cards,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row_json(made: Comparison, paper: PaperRow) -> dict[str, Any]:
    """A row of the paper, and what was measured for it."""
    here = None
    if row := made.rows.get(paper.role):
        found = made.results.table[row.name]
        here = {**row.model_dump(), "figures": {n: found[n].as_json() for n in made.measures if n in found}}
    figures = {name: float(text) for name, text in paper.figures.items()}
    return {"role": paper.role, "label": paper.label, "marks": paper.marks, "paper": figures, "here": here}


def _photograph_json(made: Comparison, record: Record) -> dict[str, Any]:
    """The figures of a photograph by role, and the left, top and side of its close-up."""
    place = None
    if (crop := made.panels.get(record["name"], {}).get(CROP)) is not None:
        top, left, side = crop.tolist()
        place = [left, top, side]
    figures = {
        role: {n: plain(record["figures"][row.name].get(n)) for n in made.measures} for role, row in made.rows.items()
    }
    return {"name": record["name"], "place": place, "figures": figures}


def stack(parts: list[Path], path: Path) -> Path:
    """Write pictures one below the other; returns the path."""
    pictures = [Image.open(part).convert("RGB") for part in parts]
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    with atomic_path(path) as temporary:
        sheet.save(temporary)
    return path
