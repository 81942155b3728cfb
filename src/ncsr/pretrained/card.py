"""What programs read of a model's card: `card.json` beside the model, where it has one."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ncsr.config import FrozenModel, explain
from ncsr.errors import InputError
from ncsr.runtime.files import read_small

CARD = "card.json"


class Card(FrozenModel):
    """The facts of a model card that other places show, so that they stand in one file."""

    licence: str
    """SPDX identifier of the weights' licence."""
    lpips: float
    """LPIPS of its samples (AlexNet, version 0.1, plain)."""
    measured_on: str
    """What `lpips` was measured on: temperature, photographs, samples of each."""


def read_card(folder: Path) -> Card | None:
    """The card of the model in a folder; None if it has none.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return Card.model_validate_json(read_small(path))
    except ValidationError as error:
        raise InputError(f"{path} is not the card of a model: {explain(error, Card)}") from None
