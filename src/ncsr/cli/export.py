"""`ncsr export`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from ncsr.cli.completion import model_names


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Bundled name, model folder, .safetensors file or hub id.",
            autocompletion=model_names,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL.onnx", help="File to write.")],
) -> None:
    """Write a model's sampler as an ONNX file (latents in, image out, any size), checked in onnxruntime."""
    from ncsr.pretrained.load import load
    from ncsr.pretrained.onnx import export as write

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every optional package that is missing
    difference = write(load(model, "cpu", "float32"), output)
    print(output)
    print(f"ncsr: in onnxruntime its images differ from the package's by at most {difference:.1e}", file=sys.stderr)
