"""In plain words, what tells a reproduction from the paper: photographs, sampling, models and their training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ncsr.config import ModelConfig
from ncsr.evaluation.methods import ENCODER, Contestant
from ncsr.evaluation.paper.items import SAMPLES, Item, Subject
from ncsr.evaluation.results import Results
from ncsr.pretrained.load import find_model
from ncsr.training.recipe import load_recipe

_RECIPE, _CARD = "recipe.yaml", "README.md"
_COMPARED = ("steps", "batch", "crop", "noise", "learning_rate", "rotations", "dequantise", "strange")


class Cast(NamedTuple):
    """Who plays a subject of the paper.

    Attributes:
        subject: that is played.
        contestant: that plays it.
        config: of the model; None of images that anything made.
    """

    subject: Subject
    contestant: Contestant
    config: ModelConfig | None


def differences(item: Item, casts: list[Cast], results: Results) -> list[str]:
    """A sentence for everything that is known to differ from the paper, or is not known."""
    absent = [s.role for s in item.subjects if s.role not in {cast.subject.role for cast in casts}]
    left = [f"No model was given for {', '.join(absent)}."] if absent else []
    played = [sentence for cast in casts for sentence in _played(cast)]
    return [*_measured(item, casts, results), *played, *left, *results.notes]


def card(cast: Cast) -> str | None:
    """What the model's card says of its data and training; None without such a card."""
    path = _folder(cast) / _CARD
    if cast.config is None or not path.is_file():
        return None
    sections = re.split(r"^(?=#+ )", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [s.strip() for s in sections if re.match(r"#+ .*\b(data|training)\b", s, re.IGNORECASE)]
    return "\n\n".join(found) or None


def _measured(item: Item, casts: list[Cast], results: Results) -> list[str]:
    protocol, names = results.settings.protocol, [r["name"] for r in results.records]
    n = len(names)
    said = [f"Photographs: {n} of {results.folder}; the paper: {item.data}."]
    given = [c.contestant.row for c in casts]
    counts = sorted({row.samples for row in given if row.samples and not row.deterministic})
    if item.kind == "table" and counts and counts != [SAMPLES]:
        said.append(f"Samples of each photograph: {' or '.join(map(str, counts))}; the paper: {SAMPLES}.")
    if protocol.lr_images.startswith("as given"):
        said.append("LR images: as given; the paper: bicubic reductions.")
    if "truncated" not in protocol.rounding:
        said.append(
            "Samples are rounded to 8 bits for LR-PSNR; the published references truncate, which keeps it under 51 dB."
        )
    if "other weights" in protocol.lpips:
        said.append(f"LPIPS and the diversity on it: {protocol.lpips}.")
    if item.at_least is not None:
        said.append("The challenge's figures come from its organisers; ours by the same formulas.")
    return said


def _played(cast: Cast) -> list[str]:
    """What differs in one model."""
    subject, row = cast.subject, cast.contestant.row
    who = f"{subject.label} ({row.model})"
    if cast.config is None:
        return [f"{who}: images that were given, nothing is known of how they were made."]
    said = []
    if row.temperature is not None:
        like = subject.temperature
        paper = "" if like is None else f"; the paper: {like:g}" if like != row.temperature else ", as in the paper"
        own = cast.config.temperature
        said.append(
            f"{who}: temperature {row.temperature:g}{paper}"
            + (f"; the model's own is {own:g}." if own != row.temperature else ".")
        )
    recipe = load_recipe(subject.recipe).model_dump(mode="json") if subject.recipe else None
    if recipe is not None:
        ours, theirs = cast.config.model_dump(mode="json"), dict(recipe["model"])
        found = [d for d in _unequal(ours, theirs) if not d.startswith("temperature")]
        if found:
            said.append(f"{who}: another architecture: {'; '.join(found)}.")
    elif subject.recipe is None:
        said.append(f"{who}: the paper describes neither its architecture nor its training; not compared.")
    return [*said, _training(who, cast, recipe)]


def _training(who: str, cast: Cast, paper: dict[str, Any] | None) -> str:
    """How the model was trained, as far as a recipe or a card beside it tells."""
    theirs = ""
    if paper is not None:
        data = f" on {cast.subject.trained_on}" if cast.subject.trained_on else ""
        theirs = (
            f" The paper ({cast.subject.recipe}): {paper['steps']} steps of {paper['batch']} crops of "
            f"{paper['crop']} pixels{data}."
        )
    path = _folder(cast).parent / _RECIPE
    if path.is_file():
        ours = yaml.safe_load(path.read_text(encoding="utf-8"))
        kept = {key: ours.get(key) for key in _COMPARED}
        text = ", ".join(f"{key} {value}" for key, value in kept.items())
        return f"{who}: trained by the recipe beside it ({text}), which does not name the photographs.{theirs}"
    if card(cast):
        return f"{who}: its data and training stand in its card, quoted here.{theirs}"
    return f"{who}: how it was trained is not recorded beside it.{theirs}"


def _unequal(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """The values in which two nested configurations differ."""
    found = []
    for key in ours.keys() | theirs.keys():
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _unequal(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} {_value(a)} (paper {_value(b)})")
    return sorted(found)


def _value(value: Any) -> str:
    return "none" if value is None else "given" if isinstance(value, dict) else str(value)


def _folder(cast: Cast) -> Path:
    """Of the model's files."""
    source = find_model(cast.contestant.row.model.removesuffix(ENCODER))
    return source if source.is_dir() else source.parent
