"""`ncsr info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(
    model: Annotated[str, typer.Argument(help="Bundled name, model folder, .safetensors file or hub id; or an image.")],
) -> None:
    """Say what a model is (scale, architecture, parameters, temperature, card), or where an image comes from."""
    from ncsr.images import is_photo_path
    from ncsr.pretrained.load import find_model, load
    from ncsr.upscaling.provenance import provenance

    if is_photo_path(Path(model)) and not Path(model).is_dir():
        origin = provenance(model)
        print(f"{model}: {'it does not say where it comes from' if origin is None else origin.picture}")
        for key, value in origin or ():
            print(f"{key}: {value}")
        return

    network, source = load(model, "cpu"), find_model(model)
    config = network.config
    parameters = sum(p.numel() for p in network.parameters())
    kind = "encoder only: one image, no likelihood" if config.flow is None else "conditional normalizing flow"
    print(f"{model}: x{config.scale}, {kind}, {parameters / 1e6:.2f} million parameters")
    print(f"encoder: {_line(config.encoder.model_dump())}")
    if config.flow is not None:
        print(f"flow: {_line(config.flow.model_dump())}")
        print(f"default temperature: {config.temperature:g}")
    card = source / "README.md"
    if source.is_dir() and card.is_file():
        print(f"card: {card}")


def _line(values: dict[str, object]) -> str:
    return ", ".join(f"{key} {list(v) if isinstance(v, tuple) else v}" for key, v in values.items())
