"""`ncsr train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ncsr.errors import InputError
from ncsr.loading import find_model


def train(
    recipe: Annotated[str, typer.Argument(help="Bundled recipe (rrdb-x4-small, x4-small) or a YAML file.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder of HR photographs, searched recursively; may be repeated.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; OUTPUT/model is the model.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUTPUT.")] = False,
    init: Annotated[
        str | None,
        typer.Option(help="Model whose weights to start from: an RRDB for a flow's encoder, or a flow to go on from."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's value, as in --set model.encoder.blocks=8."),
    ] = None,
) -> None:
    """Train a model by a recipe. LR images are made on the fly; OUTPUT gets checkpoints and a TensorBoard log."""
    from ncsr.training.recipe import load_recipe  # training needs an extra that enlarging does not

    try:
        from ncsr.training.run import train as run
    except ImportError:
        raise InputError("training needs more packages: pip install 'ncsr[train]'") from None
    resolved = load_recipe(recipe, dict(_override(change) for change in changes or []))
    print(run(resolved, data, output, init=None if init is None else find_model(init), resume=resume))


def _override(change: str) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise InputError(f"--set takes KEY=VALUE, got {change!r}")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {key}: {value!r} is not a YAML value") from None
