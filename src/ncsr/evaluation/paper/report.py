"""A table or figure of the paper with this report's figures beside it: Markdown, CSV, JSON and a part of the page."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ncsr.evaluation.html import data_url, render
from ncsr.evaluation.methods import BICUBIC, ENCODER
from ncsr.evaluation.pairs import Pair
from ncsr.evaluation.paper.differences import MethodForRow, card, differences
from ncsr.evaluation.paper.figures import CROP, Panels, draw, panels_of
from ncsr.evaluation.paper.items import PAPER, Column, Item, PaperRow
from ncsr.evaluation.pictures import RowImages
from ncsr.evaluation.protocol import Row
from ncsr.evaluation.results import Record, Results, json_text
from ncsr.evaluation.run import Addition
from ncsr.evaluation.tables import MEASURES, NONE, Cell, Interval, Table, csv_text, figure_cell, heading, plain
from ncsr.runtime.files import atomic_path

Lines = list[tuple[str, list[Cell]]]
_MEASURES = {m.name: m for m in MEASURES}


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

    @cached_property
    def table(self) -> Table:
        """The paper's figures with ours behind each; ours alone where the paper has none."""
        head, lines = _table_lines(self) if self.item.kind == "table" else _figure_lines(self)
        if all(cell.text == NONE for _, cells in lines for cell in cells[::2]):
            return Table([Cell(label) for label in head], [(label, cells[1::2]) for label, cells in lines])
        return Table([cell for label in head for cell in (Cell(label, "paper"), Cell("here"))], lines)

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
        chapter = render(
            "paper.html",
            item=self._item,
            paper=PAPER,
            absent=NONE,
            table=made.table,
            picture=png and data_url(png),
            differences=made.differences,
            cards=made.cards,
        )
        return {f"{self.name}.{suffix}": content for suffix, content in files.items()}, chapter


def _table_lines(made: Comparison) -> tuple[list[str], Lines]:
    """The heads and lines of a table in the paper's layout; bicubic is added as a last row."""
    item, table = made.item, made.results.table
    found = {role: table[row.name] for role, row in made.rows.items()}
    lines = [(r.label, _cells(item, r.figures, found.get(r.role, {}))) for r in item.rows]
    head = [_heading(column) for column in item.columns]
    if item.at_least is not None:
        head.append(f"LR PSNR ≥ {item.at_least:g}")
    if not item.transposed:
        return head, [*lines, (BICUBIC, _cells(item, {}, table[BICUBIC]))]
    marks = {
        name: [Cell(text) for r in item.rows for text in ("✓" if r.marks[name] else "✗", "")]
        for name in item.rows[0].marks
    }
    turned = [(label, [c for _, cells in lines for c in cells[2 * i : 2 * i + 2]]) for i, label in enumerate(head)]
    return [label for label, _ in lines], [*marks.items(), *turned]


def _figure_lines(made: Comparison) -> tuple[list[str], Lines]:
    """The heads and lines of a figure's numbers, by photograph and method."""
    item, lines = made.item, []
    records = {record["name"].rpartition(".")[0]: record for record in made.results.records}
    for stem, record in records.items():
        published = {name: printed for name in item.measures if (printed := item.photographs.get(stem))}
        for entry in made.methods:
            found = {name: Interval(value) for name, value in record["figures"][entry.method.row.name].items()}
            lines.append((f"{record['name']}, {entry.paper.label}", _cells(item, published, found)))
    for stem, printed in item.photographs.items():
        if printed and stem not in records:
            lines.append((f"{stem} of DIV2K", [Cell(printed), Cell(NONE)] * len(item.columns)))
    return [_heading(column) for column in item.columns], lines


def _cells(item: Item, published: dict[str, str], found: dict[str, Interval]) -> list[Cell]:
    """The cells of a line, a figure of the paper and ours for each column."""
    cells = []
    for name in item.measures:
        cells += [Cell(published.get(name, NONE)), figure_cell(_MEASURES[name], found.get(name))]
    if item.at_least is not None:
        name = "ntire_lr_psnr_mean"
        reached = [float(published[name]) if name in published else None, found[name].mean if name in found else None]
        cells += [Cell(NONE if x is None else "yes" if x >= item.at_least else "no") for x in reached]
    return cells


def _heading(column: Column) -> str:
    return heading(_MEASURES[column.measure], column.label)


def _markdown(made: Comparison) -> str:
    item = made.item
    lines = [f"**{item.title}. {item.caption}.**", ""]
    if item.kind != "table":
        lines += [f"![{item.title}]({item.name}.png)", ""]
    lines += [*made.table.markdown(), ""]
    lines += [f"Paper: {PAPER}, {item.location}. Every figure and its origin: {item.name}.json, results.json.", ""]
    lines += ["What differs from the paper, as far as known:", "", *(f"- {text}" for text in made.differences), ""]
    for model, text in made.cards.items():
        lines += [f"From the card of {model}:", "", *(f"> {line}".rstrip() for line in text.splitlines()), ""]
    return "\n".join(lines)


def _csv(made: Comparison) -> str:
    """One line per row of the paper."""
    results, lines = made.results, []
    for paper in made.item.rows:
        line: dict[str, Any] = {"role": paper.role, "label": paper.label}
        line |= {f"{name}_paper": text for name, text in paper.figures.items()}
        if row := made.rows.get(paper.role):
            for name, value in results.table[row.name].items():
                line |= {f"{name}_here": value.mean, f"{name}_ci95": value.half}
            line |= row.model_dump()
            line |= {"seed": results.settings.protocol.seed, "photographs": len(results.records)}
        lines.append(line)
    sides = [f"{name}_{side}" for name in made.item.measures for side in ("paper", "here", "ci95")]
    origin = ["model", "fingerprint", "temperature", "samples", "seed", "photographs"]
    return csv_text(["role", "label", *sides, *origin], lines)


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
        here = {**row.model_dump(), "figures": {n: found[n].as_json() for n in made.item.measures if n in found}}
    figures = {name: float(text) for name, text in paper.figures.items()}
    return {"role": paper.role, "label": paper.label, "marks": paper.marks, "paper": figures, "here": here}


def _photograph_json(made: Comparison, record: Record) -> dict[str, Any]:
    """The figures of a photograph by role, and the left, top and side of its close-up."""
    place = None
    if (crop := made.panels.get(record["name"], {}).get(CROP)) is not None:
        top, left, side = crop.tolist()
        place = [left, top, side]
    figures = {
        role: {n: plain(record["figures"][row.name].get(n)) for n in made.item.measures}
        for role, row in made.rows.items()
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
