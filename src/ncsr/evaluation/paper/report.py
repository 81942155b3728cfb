"""A table or figure of the paper with this report's figures beside it: Markdown, CSV, JSON and a part of the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ncsr.evaluation.html import data_url, render
from ncsr.evaluation.methods import BICUBIC, ENCODER
from ncsr.evaluation.pairs import Pair
from ncsr.evaluation.paper.differences import MethodForRow, card, differences
from ncsr.evaluation.paper.figures import CROP, Panels, draw, panels_of
from ncsr.evaluation.paper.items import PAPER, Column, Item
from ncsr.evaluation.pictures import RowImages
from ncsr.evaluation.protocol import Row
from ncsr.evaluation.results import Results, json_text
from ncsr.evaluation.run import Addition
from ncsr.evaluation.tables import MEASURES, NONE, Cell, Interval, Table, csv_text, figure_cell, heading, json_of, plain
from ncsr.images import write_pixels
from ncsr.images.origin import together
from ncsr.upscaling.provenance import provenance

Lines = list[tuple[str, list[Cell]]]
_MEASURES = {m.name: m for m in MEASURES}


class PaperAddition(Addition):
    """A table or figure of the paper as an addition to the report of an evaluation."""

    def __init__(self, item: Item, methods: list[MethodForRow]) -> None:
        self.name, self._item, self._methods = item.name, item, methods

    def panels(self, pair: Pair, shown: list[RowImages]) -> Panels:
        """The pictures that a figure shows of a photograph; none for a table."""
        return {} if self._item.kind == "table" else panels_of(self._item, self._methods, pair, shown)

    def write(self, results: Results, panels: dict[str, Panels]) -> tuple[dict[str, bytes], str]:
        """The files (Markdown, JSON, and a table's CSV or a figure's PNG) by name, and the part of the page."""
        item, methods = self._item, self._methods
        rows = {m.paper.role: m.method.row for m in methods}
        table = _table(item, methods, results)
        cards = {m.method.row.model.removesuffix(ENCODER): text for m in methods if (text := card(m))}
        known: dict[str, Any] = {"differences": differences(item, methods, results), "cards": cards}
        png = None if item.kind == "table" else draw(item, panels, results.records, methods)
        files = {"csv": _csv(item, rows, results).encode()} if png is None else {"png": png}
        files["md"] = _markdown(item, table, **known).encode()
        files["json"] = json_of(_content(item, rows, results, panels) | known).encode()
        picture = png and data_url(png)
        chapter = render("paper.html", item=item, paper=PAPER, absent=NONE, table=table, picture=picture, **known)
        return {f"{self.name}.{suffix}": content for suffix, content in files.items()}, chapter


def _table(item: Item, methods: list[MethodForRow], results: Results) -> Table:
    """The paper's figures with ours behind each; ours alone where the paper has none."""
    head, lines = (_table_lines if item.kind == "table" else _figure_lines)(item, methods, results)
    if all(cell.text == NONE for _, cells in lines for cell in cells[::2]):
        return Table([Cell(label) for label in head], [(label, cells[1::2]) for label, cells in lines])
    return Table([cell for label in head for cell in (Cell(label, "paper"), Cell("here"))], lines)


def _table_lines(item: Item, methods: list[MethodForRow], results: Results) -> tuple[list[str], Lines]:
    """The heads and lines of a table in the paper's layout; bicubic is added as a last row."""
    found = {m.paper.role: results.table[m.method.row.name] for m in methods}
    lines = [(r.label, _cells(item, r.figures, found.get(r.role, {}))) for r in item.rows]
    head = [_heading(column) for column in item.columns]
    if item.at_least is not None:
        head.append(f"LR PSNR ≥ {item.at_least:g}")
    if not item.transposed:
        return head, [*lines, (BICUBIC, _cells(item, {}, results.table[BICUBIC]))]
    marks = {
        name: [Cell(text) for r in item.rows for text in ("✓" if r.marks[name] else "✗", "")]
        for name in item.rows[0].marks
    }
    turned = [(label, [c for _, cells in lines for c in cells[2 * i : 2 * i + 2]]) for i, label in enumerate(head)]
    return [label for label, _ in lines], [*marks.items(), *turned]


def _figure_lines(item: Item, methods: list[MethodForRow], results: Results) -> tuple[list[str], Lines]:
    """The heads and lines of a figure's numbers, by photograph and method."""
    lines = []
    stems = [Path(record["name"]).stem for record in results.records]
    for stem, record in zip(stems, results.records, strict=True):
        published = {name: printed for name in item.measures if (printed := item.photographs.get(stem))}
        for entry in methods:
            found = {name: Interval(value) for name, value in record["figures"][entry.method.row.name].items()}
            lines.append((f"{record['name']}, {entry.paper.label}", _cells(item, published, found)))
    for stem, printed in item.photographs.items():
        if printed and stem not in stems:
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


def _markdown(item: Item, table: Table, differences: list[str], cards: dict[str, str]) -> str:
    lines = [f"**{item.title}. {item.caption}.**", ""]
    if item.kind != "table":
        lines += [f"![{item.title}]({item.name}.png)", ""]
    lines += [*table.markdown(), ""]
    lines += [f"Paper: {PAPER}, {item.location}. Every figure and its origin: {item.name}.json, results.json.", ""]
    lines += ["What differs from the paper, as far as known:", "", *(f"- {text}" for text in differences), ""]
    for model, text in cards.items():
        lines += [f"From the card of {model}:", "", *(f"> {line}".rstrip() for line in text.splitlines()), ""]
    return "\n".join(lines)


def _csv(item: Item, rows: dict[str, Row], results: Results) -> str:
    """One line per row of the paper."""
    lines = []
    for paper in item.rows:
        line: dict[str, Any] = {"role": paper.role, "label": paper.label}
        line |= {f"{name}_paper": text for name, text in paper.figures.items()}
        if row := rows.get(paper.role):
            for name, value in results.table[row.name].items():
                line |= {f"{name}_here": value.mean, f"{name}_ci95": value.half}
            line |= row.model_dump()
            line |= {"seed": results.settings.protocol.seed, "photographs": len(results.records)}
        lines.append(line)
    sides = [f"{name}_{side}" for name in item.measures for side in ("paper", "here", "ci95")]
    origin = ["model", "fingerprint", "temperature", "samples", "seed", "photographs"]
    return csv_text(["role", "label", *sides, *origin], lines)


def _content(item: Item, rows: dict[str, Row], results: Results, panels: dict[str, Panels]) -> dict[str, Any]:
    """All figures for the JSON file, with what each comes from."""
    subjects, photographs = [], []
    for paper in item.rows:
        here = None
        if row := rows.get(paper.role):
            found = results.table[row.name]
            here = {**row.model_dump(), "figures": {n: found[n].as_json() for n in item.measures if n in found}}
        printed = {name: float(text) for name, text in paper.figures.items()}
        subjects.append({**paper.model_dump(include={"role", "label", "marks"}), "paper": printed, "here": here})
    for record in results.records:
        place = None
        if (crop := panels.get(record["name"], {}).get(CROP)) is not None:
            top, left, side = crop.tolist()
            place = [left, top, side]
        figures = {
            role: {n: plain(record["figures"][row.name].get(n)) for n in item.measures} for role, row in rows.items()
        }
        photographs.append({"name": record["name"], "place": place, "figures": figures})
    return {
        "item": item.name,
        "caption": item.caption,
        "paper": f"{PAPER}, {item.location}",
        "paper_photographs": item.photographs,
        "ntire_lr_psnr_at_least": item.at_least,
        "command": results.command,
        **results.settings.model_dump(include={"ncsr", "torch", "protocol"}),
        "results": {"file": "results.json", "sha256": hashlib.sha256(json_text(results).encode()).hexdigest()},
        "folder": results.folder,
        "subjects": subjects,
        "photographs": photographs,
    }


def stack(parts: list[Path], path: Path) -> Path:
    """Write pictures one below the other, with what they say of their origin together; returns the path."""
    pictures = [Image.open(part).convert("RGB") for part in parts]
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    origins = [origin for part in parts if (origin := provenance(part))]
    record = together(origins, "part of a report").record()
    write_pixels(path, np.asarray(sheet), None, None, record=record)
    return path
