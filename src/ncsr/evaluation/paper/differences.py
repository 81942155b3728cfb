"""The differences between a reproduction and the paper in plain words: photographs, sampling, models, training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ncsr.config import ModelConfig
from ncsr.errors import InputError
from ncsr.evaluation.methods import Method
from ncsr.evaluation.paper.items import SAMPLES, Item, PaperRow
from ncsr.evaluation.results import Results
from ncsr.training.recipe import changed_values, load_recipe, read_values

_RECIPE, _CARD = "recipe.yaml", "README.md"
_COMPARED = ("steps", "batch", "crop", "noise", "learning_rate", "rotations", "dequantise", "noise_mix_probability")


class MethodForRow(NamedTuple):
    """A row of the paper's table or figure, and the method that is measured for it."""

    paper: PaperRow
    method: Method
    config: ModelConfig | None
    """The configuration of the method's model; None if it is a folder of images."""
    folder: Path
    """The folder that its files lie in."""


def differences(item: Item, methods: list[MethodForRow], results: Results) -> list[str]:
    """A sentence for everything that is known to differ from the paper, or is not known."""
    absent = [r.role for r in item.rows if r.role not in {m.paper.role for m in methods}]
    missing = [f"No model was given for {', '.join(absent)}."] if absent else []
    of_methods = [sentence for entry in methods for sentence in _method_differences(entry)]
    return [*_protocol_differences(item, methods, results), *of_methods, *missing, *results.notes]


def card(entry: MethodForRow) -> str | None:
    """The sections of the model's card (README.md) on data and training; None if there are none."""
    path = entry.folder / _CARD
    if entry.config is None or not path.is_file():
        return None
    sections = re.split(r"^(?=#+ )", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)
    found = [s.strip() for s in sections if re.match(r"#+ .*\b(data|training)\b", s, re.IGNORECASE)]
    return "\n\n".join(found) or None


def _protocol_differences(item: Item, methods: list[MethodForRow], results: Results) -> list[str]:
    """What differs from the paper in the photographs and the measuring."""
    protocol, names = results.settings.protocol, [r["name"] for r in results.records]
    by_name = "" if item.images is None else f", {_among_the_papers(names)}"
    sentences = [f"Photographs: {len(names)} of {results.folder}{by_name}; the paper: {item.data}."]
    given = [m.method.row for m in methods]
    counts = sorted({row.samples for row in given if row.samples and not row.deterministic})
    if item.kind == "table" and counts and counts != [SAMPLES]:
        sentences.append(f"Samples of each photograph: {' or '.join(map(str, counts))}; the paper: {SAMPLES}.")
    if protocol.lr_images.startswith("as given"):
        sentences.append("LR images: as given; the paper: bicubic reductions.")
    if "truncated" not in protocol.rounding:
        sentences.append(
            "Samples are rounded to 8 bits for LR-PSNR; the published references truncate, which keeps it under 51 dB."
        )
    if "other weights" in protocol.lpips:
        sentences.append(f"LPIPS and the diversity on it: {protocol.lpips}.")
    if item.at_least is not None:
        sentences.append("The challenge's figures come from its organisers; ours by the same formulas.")
    return sentences


def _among_the_papers(names: list[str]) -> str:
    """How many files have the name of one of DIV2K's validation images, 0801 to 0900, and which."""
    stems = {Path(name).stem for name in names}
    runs: list[list[int]] = []
    for number in (n for n in range(801, 901) if f"{n:04}" in stems):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    if not runs:
        return "none of them by name among the paper's"
    which = (f"{run[0]:04}" if len(run) == 1 else f"{run[0]:04} to {run[-1]:04}" for run in runs)
    return f"{sum(map(len, runs))} of them by name among the paper's ({', '.join(which)})"


def _method_differences(entry: MethodForRow) -> list[str]:
    """What differs from the paper in one method."""
    paper, row = entry.paper, entry.method.row
    name = f"{paper.label} ({row.model})"
    if entry.config is None:
        return [f"{name}: images that were given, nothing is known of how they were made."]
    sentences = []
    if row.temperature is not None:
        like = paper.temperature
        in_paper = "" if like is None else f"; the paper: {like:g}" if like != row.temperature else ", as in the paper"
        own = entry.config.temperature
        also = f"; the model's own is {own:g}" if own != row.temperature else ""
        sentences.append(f"{name}: temperature {row.temperature:g}{in_paper}{also}.")
    recipe = load_recipe(paper.recipe).model_dump(mode="json") if paper.recipe else None
    if recipe is not None:
        changed = changed_values(entry.config.model_dump(mode="json"), recipe["model"])
        found = [f"{key} {_value(a)} (paper {_value(b)})" for key, a, b in changed if key != "temperature"]
        if found:
            sentences.append(f"{name}: another architecture: {'; '.join(found)}.")
    else:
        sentences.append(f"{name}: the paper describes neither its architecture nor its training; not compared.")
    return [*sentences, _training(name, entry, recipe)]


def _training(name: str, entry: MethodForRow, paper: dict[str, Any] | None) -> str:
    """How the model was trained, as far as a recipe or a card beside it tells."""
    ours = _recipe_beside(entry.folder)
    if ours is not None:
        text = ", ".join(f"{key} {ours.get(key)}" for key in _COMPARED)
        known = f"{name}: trained by the recipe beside it ({text}), which does not name the photographs."
    elif card(entry):
        known = f"{name}: its data and training stand in its card, quoted here."
    else:
        known = f"{name}: how it was trained is not recorded beside it."
    if paper is None:
        return known
    data = f" on {entry.paper.trained_on}" if entry.paper.trained_on else ""
    crops = f"{paper['steps']} steps of {paper['batch']} crops of {paper['crop']} pixels"
    return f"{known} The paper ({entry.paper.recipe}): {crops}{data}."


def _recipe_beside(folder: Path) -> dict[str, Any] | None:
    """The values of the recipe in the folder of a model's run; None without one that can be read."""
    path = folder.parent / _RECIPE
    try:
        return read_values(str(path)) if path.is_file() else None
    except InputError:
        return None


def _value(value: Any) -> str:
    return "none" if value is None else "given" if isinstance(value, dict) else str(value)
