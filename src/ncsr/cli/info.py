"""`ncsr info`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from ncsr.cli.completion import model_names


def info(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Bundled name, model folder, .safetensors file or hub id; or an image.",
            show_default="all bundled models",
            autocompletion=model_names,
        ),
    ] = None,
) -> None:
    """Say what a model is (scale, architecture, parameters, temperature, licence, card), or where an image comes from.

    Without either: the bundled models side by side, with their speed on this machine, and all licences.
    """
    from ncsr.hub.card import read_card
    from ncsr.images import is_photo
    from ncsr.pretrained.load import find_model, load
    from ncsr.upscaling.provenance import provenance

    if model is None:
        _list_bundled()
        return
    beside = Path(model).suffix.lower() in (".npy", ".json")  # a map of `upscale --std`, and any picture's sidecar
    if (is_photo(Path(model)) or beside) and not Path(model).is_dir():
        origin = provenance(model)
        print(f"{model}: {'it does not say where it comes from' if origin is None else origin.picture}")
        for key, value in origin or ():
            if value not in (None, []):
                print(f"{key}: {value}")
        return

    source = find_model(model)
    network = load(source, "cpu")
    config, card = network.config, read_card(source)
    kind = "encoder only: one image, no likelihood" if config.flow is None else "conditional normalizing flow"
    print(f"{model}: x{config.scale}, {kind}, {config.parameters / 1e6:.2f} million parameters")
    print(f"encoder: {_line(config.encoder.model_dump())}")
    if config.flow is not None:
        print(f"flow: {_line(config.flow.model_dump())}")
        print(f"default temperature: {config.temperature:g}")
    if card is not None and card.calibrated_temperature is not None:
        print(f"temperature for uncertainty: {card.calibrated_temperature:g}")
    if card is not None and card.licence is not None:
        print(f"licence: {card.licence}")
    if (text := source / "README.md").is_file():
        print(f"card: {text}")


def _line(values: dict[str, object]) -> str:
    return ", ".join(f"{key} {list(v) if isinstance(v, tuple) else v}" for key, v in values.items())


def _list_bundled() -> None:
    """Print a table of the bundled models, with the speed of each from a trial, and the licences."""
    import torch

    from ncsr.hub.card import read_card
    from ncsr.pretrained.load import bundled_models, default_model, find_model, load
    from ncsr.runtime.timing import seconds_of
    from ncsr.serialization import WEIGHTS

    lr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    lines = [("model", "scale", "size", "temperature", "speed here", "LPIPS", "licence")]
    notes = ["speed: of one sample of 64 x 64 pixels, in pixels of the result"]
    for name in bundled_models():
        network, folder = load(name), find_model(name)
        scale, card = network.config.scale, read_card(folder)
        seconds = seconds_of(lambda network=network: network.space(lr).sample(1, seed=0), network.device, 2)  # type: ignore[misc]
        lines.append(
            (
                f"{name} (default)" if name == default_model(4) else name,
                f"x{scale}",
                f"{(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB",
                f"{network.config.temperature:g}",
                f"{(64 * scale) ** 2 / seconds / 1e6:.2g} Mpixel/s",
                "–" if card is None or card.lpips is None else f"{card.lpips:.3f}",
                (card and card.licence) or "–",
            )
        )
        if card is not None and card.measured_on:
            notes.append(f"LPIPS of {name}: {card.measured_on}")
    _print_table(lines)
    print("", *notes, "", sep="\n")
    table = (files("ncsr") / "licences.md").read_text(encoding="utf-8").splitlines()
    _print_table([[cell.strip() for cell in row.strip("|").split("|")] for row in table if "---" not in row])


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
