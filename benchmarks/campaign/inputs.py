"""What trials share: a tiny model, photographs, a recipe, and how folders are compared."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from benchmarks.campaign.files import picture
from tests.models import lively_model
from tests.training.conftest import BASE

_RECORDS = re.compile(r"\.ncsr-[0-9a-f]{12}")


def make_model(folder: Path) -> Path:
    """A tiny flow."""
    lively_model(dtype=torch.float32).save(folder)
    return folder


def make_photo(path: Path, height: int = 24, width: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(height, width, 3)).save(path)
    return path


def make_recipe(path: Path, **changes: Any) -> Path:
    """A recipe of a tiny flow."""
    path.write_text(yaml.safe_dump(BASE | changes))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder, by their paths inside."""
    found = (Path(place) / name for place, _, files in os.walk(folder) for name in files)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found)}


def litter(folder: Path) -> list[str]:
    """A fault for hidden files and folders other than the records of a report, which are there to be gone on with."""
    hidden = sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if not _RECORDS.fullmatch(path.name))
    return [f"litter: {', '.join(hidden[:5])}"] if hidden else []
