"""A table or figure of the paper with this report's figures beside it: Markdown, CSV, JSON and a part of the page."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ncsr.evaluation.methods import ENCODER
from ncsr.evaluation.pairs import Pair as Photograph
from ncsr.evaluation.paper.differences import Cast, card, differences
from ncsr.evaluation.paper.figures import PLACE, Panels, draw, panels_of
from ncsr.evaluation.paper.items import PAPER, Column, Item
from ncsr.evaluation.pictures import Shown
from ncsr.evaluation.results import MEASURES, Interval, Results, arrow, cell, json_text, plain
from ncsr.evaluation.run import Addition
from ncsr.runtime.files import atomic_path

NONE = "–"
_MEASURES = {m.name: m for m in MEASURES}


class Both(NamedTuple):
    """A figure of the paper and the one measured here, as they are printed."""

    paper: str
    here: str


class Grid(NamedTuple):
    """Columns' labels; lines of a label and a pair for each column."""

    head: list[str]
    lines: list[tuple[str, list[Both]]]


def reproduction(
    item: Item, casts: list[Cast], results: Results, panels: dict[str, Panels]
) -> tuple[dict[str, bytes], str]:
    """The files of a table or figure, by name, and its part of the page.

    Args:
        item: of the paper.
        casts: who plays its subjects.
        results: of the evaluation.
        panels: of a figure: what is shown, by photograph.
    """
    grid = table_grid(item, casts, results) if item.kind == "table" else figure_grid(item, casts, results)
    said = differences(item, casts, results)
    cards = {c.contestant.row.model.removesuffix(ENCODER): text for c in casts if (text := card(c))}
    files = {}
    png = None
    if item.kind != "table":
        png = files[f"{item.name}.png"] = draw(item, panels, results.records, casts)
    else:
        files[f"{item.name}.csv"] = _csv(item, casts, results).encode()
    files[f"{item.name}.md"] = _markdown(item, grid, said, cards).encode()
    files[f"{item.name}.json"] = _json(item, casts, results, panels, said, cards).encode()
    return files, _html(item, grid, said, cards, png)


def table_grid(item: Item, casts: list[Cast], results: Results) -> Grid:
    """A table in the paper's layout; bicubic is added as a last row."""
    rows = {c.subject.role: results.table[c.contestant.row.name] for c in casts}
    lines = [(s.label, _pairs(item, s.figures, rows.get(s.role, {}))) for s in item.subjects]
    head = [_label(column) for column in item.columns]
    if item.at_least is not None:
        head.append(f"LR PSNR ≥ {item.at_least:g}")
    if not item.transposed:
        return Grid(head, [*lines, ("bicubic", _pairs(item, {}, results.table["bicubic"]))])
    marks = [
        (name, [Both("✓" if s.marks[name] else "✗", "") for s in item.subjects]) for name in item.subjects[0].marks
    ]
    turned = [(label, [pairs[i] for _, pairs in lines]) for i, label in enumerate(head)]
    return Grid([label for label, _ in lines], [*marks, *turned])


def figure_grid(item: Item, casts: list[Cast], results: Results) -> Grid:
    """The numbers of a figure, by photograph and subject."""
    lines = []
    stems = {record["name"].rpartition(".")[0] for record in results.records}
    for record in results.records:
        printed = item.photographs.get(record["name"].rpartition(".")[0])
        for cast in casts:
            figures = record["figures"][cast.contestant.row.name]
            found = {name: Interval(value, None, 1) for name, value in figures.items()}
            published = {column.measure: printed for column in item.columns if printed}
            lines.append((f"{record['name']}, {cast.subject.label}", _pairs(item, published, found)))
    for stem, printed in item.photographs.items():
        if printed and stem not in stems:
            lines.append((f"{stem} of DIV2K", [Both(printed, NONE) for _ in item.columns]))
    return Grid([_label(column) for column in item.columns], lines)


def _pairs(item: Item, published: dict[str, str], found: dict[str, Interval]) -> list[Both]:
    names = [column.measure for column in item.columns]
    pairs = [Both(published.get(n, NONE), cell(found.get(n), _MEASURES[n])) for n in names]
    if item.at_least is not None:
        name = "ntire_lr_psnr_mean"
        paper = _reached(float(published[name]), item.at_least) if name in published else NONE
        pairs.append(Both(paper, _reached(found[name].mean, item.at_least) if name in found else NONE))
    return pairs


def _reached(decibels: float, least: float) -> str:
    return "yes" if decibels >= least else "no"


def _label(column: Column) -> str:
    return column.label + arrow(_MEASURES[column.measure])


def _printed(grid: Grid) -> bool:
    """Whether the paper has any of these figures."""
    return any(pair.paper != NONE for _, pairs in grid.lines for pair in pairs)


def _markdown(item: Item, grid: Grid, said: list[str], cards: dict[str, str]) -> str:
    both = _printed(grid)
    head = [text for label in grid.head for text in ([f"{label}, paper", "here"] if both else [label])]
    lines = [f"**{item.title}. {item.caption}.**", ""]
    if item.kind != "table":
        lines += [f"![{item.title}]({item.name}.png)", ""]
    lines += ["| | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for label, pairs in grid.lines:
        cells = [text for pair in pairs for text in (pair if both else (pair.here,))]
        lines.append(f"| {label.replace('|', '/')} | " + " | ".join(cells) + " |")
    lines += ["", f"Paper: {PAPER}, {item.place}. Every figure and its origin: {item.name}.json, results.json.", ""]
    lines += ["What differs from the paper, as far as known:", "", *(f"- {sentence}" for sentence in said), ""]
    for model, text in cards.items():
        lines += [f"From the card of {model}:", "", *(f"> {line}".rstrip() for line in text.splitlines()), ""]
    return "\n".join(lines)


def _csv(item: Item, casts: list[Cast], results: Results) -> str:
    """One line per subject."""
    rows = {c.subject.role: c.contestant.row for c in casts}
    names = [column.measure for column in item.columns]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    origin = ["model", "fingerprint", "temperature", "samples", "seed", "photographs"]
    writer.writerow(["role", "label", *(f"{n}_{side}" for n in names for side in ("paper", "here", "ci95")), *origin])
    for subject in item.subjects:
        line: list[Any] = [subject.role, subject.label]
        row = rows.get(subject.role)
        for name in names:
            value = results.table[row.name].get(name) if row else None
            line += [subject.figures[name], *((value.mean, value.half) if value else (None, None))]
        if row:
            line += [row.model, row.fingerprint, row.temperature, row.samples]
            line += [results.settings.protocol.seed, len(results.records)]
        else:
            line += [None] * len(origin)
        writer.writerow(line)
    return buffer.getvalue()


def _json(
    item: Item,
    casts: list[Cast],
    results: Results,
    panels: dict[str, Panels],
    said: list[str],
    cards: dict[str, str],
) -> str:
    """Everything, with what each figure comes from."""
    rows = {c.subject.role: c.contestant.row for c in casts}
    names = [column.measure for column in item.columns]
    subjects = []
    for subject in item.subjects:
        row = rows.get(subject.role)
        here = None
        if row:
            figures = {n: results.table[row.name][n] for n in names if n in results.table[row.name]}
            here = {
                **row.model_dump(),
                "figures": {
                    n: {"mean": plain(i.mean), "ci95": plain(i.half), "images": i.images} for n, i in figures.items()
                },
            }
        paper = {name: float(text) for name, text in subject.figures.items()}
        subjects.append(
            {"role": subject.role, "label": subject.label, "marks": subject.marks, "paper": paper, "here": here}
        )
    photographs = []
    for record in results.records:
        place = panels.get(record["name"], {}).get(PLACE)
        found = {role: {n: plain(record["figures"][row.name].get(n)) for n in names} for role, row in rows.items()}
        photographs.append(
            {"name": record["name"], "place": None if place is None else place.tolist(), "figures": found}
        )
    text = json_text(results)
    content = {
        "item": item.name,
        "caption": item.caption,
        "paper": f"{PAPER}, {item.place}",
        "paper_photographs": item.photographs,
        "ntire_lr_psnr_at_least": item.at_least,
        "command": results.command,
        "ncsr": results.settings.ncsr,
        "torch": results.settings.torch,
        "protocol": results.settings.protocol.model_dump(),
        "results": {"file": "results.json", "sha256": hashlib.sha256(text.encode()).hexdigest()},
        "folder": results.folder,
        "subjects": subjects,
        "photographs": photographs,
        "differences": said,
        "cards": cards,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _html(item: Item, grid: Grid, said: list[str], cards: dict[str, str], png: bytes | None) -> str:
    both = _printed(grid)
    head = "".join(
        f"<th>{escape(label)}{' <small>paper</small></th><th>here' if both else ''}</th>" for label in grid.head
    )
    lines = []
    for label, pairs in grid.lines:
        cells = ""
        for pair in pairs:
            number, _, spread = pair.here.partition(" ± ")
            here = f"{number}{f' <small>± {spread}</small>' if spread else ''}"
            cells += (f"<td>{pair.paper}</td>" if both else "") + f"<td>{here}</td>"
        lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    picture = ""
    if png is not None:
        data = base64.b64encode(png).decode()
        picture = f'<p><img class="plot" alt="{item.title}" src="data:image/png;base64,{data}"></p>'
    quoted = "".join(
        f"<details><summary>From the card of {escape(model)}</summary><pre>{escape(text)}</pre></details>\n"
        for model, text in cards.items()
    )
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in said)
    return (
        f"<h2>{item.title} of the paper</h2>\n<p>{escape(item.caption)}.</p>\n{picture}\n"
        f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>\n'
        f'<p class="quiet">Paper: {escape(PAPER)}, {escape(item.place)}. {NONE}: not given or measured.</p>\n'
        f"<h3>What differs from the paper, as far as known</h3>\n<ul>{sentences}</ul>\n{quoted}"
    )


def addition(item: Item, casts: list[Cast]) -> Addition:
    """What a table or figure adds to the report of an evaluation."""

    def panels(pair: Photograph, shown: list[Shown]) -> Panels:
        return {} if item.kind == "table" else panels_of(item, casts, pair, shown)

    def write(results: Results, kept: dict[str, Panels]) -> tuple[dict[str, bytes], str]:
        return reproduction(item, casts, results, kept)

    return Addition(item.name, panels, write)


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
