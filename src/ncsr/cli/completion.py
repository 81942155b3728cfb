"""Completions for the shell; names are looked up without importing PyTorch, so that they come at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def names(*words: str) -> Callable[[str], list[str]]:
    """A completion function for these words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def model_names(incomplete: str) -> list[str]:
    """The bundled models; a shell completes folders and files by itself where none fits."""
    return names(*sorted(path.parent.name for path in _PACKAGE.glob("weights/*/config.json")))(incomplete)


def recipe_names(incomplete: str) -> list[str]:
    """The bundled recipes."""
    return names(*sorted(path.stem for path in _PACKAGE.glob("recipes/*.yaml")))(incomplete)
