"""From the figures of single images to the files of a report: CSV, JSON, a Markdown table."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from ncsr.evaluation.protocol import Settings
from ncsr.evaluation.tables import MEASURES, Interval, csv_text, json_of, measures_of, plain, table_of

SET_FIGURES = ("texture_distance", "grain", "spread_skill", "coverage_50", "coverage_90")

Record = dict[str, Any]
"""One photograph: "name", "agreement", "samples" and "figures" by the name of the row."""


@dataclass(frozen=True)
class Results:
    """A whole evaluation.

    Attributes:
        settings: all settings that decide the figures.
        command: the command line that made it.
        folder: name of the photographs' folder.
        records: one per photograph, in order.
        fingerprints: hashes of the photographs' files, in the same order.
        table: figures by the row's name and the measure's.
        notes: sentences that a reader must know: what was not measured, and why; which files failed.
    """

    settings: Settings
    command: str
    folder: str
    records: list[Record]
    fingerprints: list[str]
    table: dict[str, dict[str, Interval]]
    notes: list[str]


def summarise(records: list[Record], row: str, of_set: dict[str, float]) -> dict[str, Interval]:
    """The figures of one row of the table, in the order of `MEASURES`.

    Args:
        records: one per photograph.
        row: its name.
        of_set: its figures of the set as a whole, by measure.
    """
    found = {}
    for measure in MEASURES:
        if measure.name in of_set:
            found[measure.name] = Interval(of_set[measure.name], images=len(records))
            continue
        values = [r["figures"][row][measure.name] for r in records if measure.name in r["figures"][row]]
        if values:
            found[measure.name] = interval(values)
    return found


def interval(values: list[float]) -> Interval:
    """Mean and 95 % confidence interval, by Student's t, of one or more independent figures."""
    n = len(values)
    if n == 1 or not all(map(math.isfinite, values)):
        return Interval(math.fsum(values) / n, images=n)
    mean = math.fsum(values) / n
    return Interval(mean, student(n - 1) * statistics.stdev(values) / math.sqrt(n), n)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t for so many degrees of freedom, within 1e-3."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = statistics.NormalDist().inv_cdf(0.975)  # Abramowitz and Stegun, 26.7.5
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2 + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / freedom**3


_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def images_csv(results: Results) -> str:
    """One line per photograph and row of the table."""
    lines = [
        {"image": record["name"], "row": row.name, **row.model_dump(), **record["figures"][row.name]}
        | {"samples": record["samples"][row.name]}
        for record in results.records
        for row in results.settings.rows
    ]
    names = [m.name for m in measures_of(results.table) if m.name not in SET_FIGURES]
    return csv_text(["image", "row", "model", "fingerprint", "temperature", "samples", *names], lines)


def json_text(results: Results) -> str:
    """All settings, the figures of all rows, and the images they come from; infinity is "inf", NaN is null."""
    images = [
        {"name": r["name"], "sha256": f, "lr_agreement_db": plain(r["agreement"])}
        for r, f in zip(results.records, results.fingerprints, strict=True)
    ]
    content = {
        "command": results.command,
        "folder": results.folder,
        **results.settings.model_dump(exclude={"rows", "pictures"}),
        "notes": results.notes,
        "rows": [
            {**row.model_dump(), "figures": {n: i.as_json() for n, i in results.table[row.name].items()}}
            for row in results.settings.rows
        ],
        "images": images,
    }
    return json_of(content)


def markdown_text(results: Results) -> str:
    """The table, its protocol in a sentence, and the notes."""
    protocol = f"{title(results)}. {caption(results)} LR images: {results.settings.protocol.lr_images}."
    return "\n".join([*table_of(results.table).markdown(), "", protocol, *results.notes, ""])


def title(results: Results) -> str:
    """The photographs and the scale."""
    n = len(results.records)
    return f"{results.folder}: {n} photograph{'s' * (n > 1)}, x{results.settings.protocol.scale}"


def caption(results: Results) -> str:
    """A sentence on the samples and intervals of the table."""
    seed, shown = results.settings.protocol.seed, []
    counts = sorted({k for r in results.records for k in r["samples"].values() if k > 1})
    if counts:
        shown.append(f"{' or '.join(map(str, counts))} samples of each photograph where a method has several")
    if seed is not None:
        shown.append(f"seed {seed}")
    if len(results.records) > 1:
        shown.append("mean over photographs ± half of the 95 % confidence interval")
    return ", ".join(shown).capitalize() + "." * bool(shown)
