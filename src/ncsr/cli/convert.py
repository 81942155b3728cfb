"""`ncsr convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from ncsr.errors import InputError, brief


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="REFERENCE.pth", help="Published NCSR, SRFlow, RRDB, ESRGAN or ESRGAN+ weights.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the model.")],
    noise_steps: Annotated[
        str | None,
        typer.Option(help="Steps with a noise layer, per level, finest first: 0,16,16.", show_default="as published"),
    ] = None,
    stacked_blocks: Annotated[
        str | None,
        typer.Option(help="Zero-based RRDB blocks that the flow sees: 1,8,15,22.", show_default="as published"),
    ] = None,
    trunk_skip: Annotated[
        str | None,
        typer.Option(
            help="What the trunk's convolution is added to: first (ESRGAN) or last (NCSR, SRFlow).",
            show_default="by the file",
        ),
    ] = None,
) -> None:
    """Turn a published checkpoint into a model folder. The file is read without running code in it."""
    from ncsr.pretrained.published import convert as convert_weights
    from ncsr.runtime.files import explain_write_errors
    from ncsr.serialization import read_checkpoint

    if trunk_skip not in (None, "first", "last"):
        raise InputError(f"--trunk-skip must be first or last, got {trunk_skip!r}")
    model = convert_weights(
        read_checkpoint(checkpoint),
        noise_steps=_numbers("--noise-steps", noise_steps),
        stacked_blocks=_numbers("--stacked-blocks", stacked_blocks),
        trunk_skip=cast(Literal["first", "last"] | None, trunk_skip),
    )
    with explain_write_errors(output, "choose another place"):
        model.save(output)
    print(output)


def _numbers(option: str, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} takes numbers with commas between, as 0,16,16, got {brief(text)}") from None
