"""`ncsr fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Install this copy of the file instead of downloading it."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder for the file.", show_default="where ncsr looks for it"),
    ] = None,
) -> None:
    """Download the AlexNet weights that LPIPS needs (244 MB), for machines that will be offline, and print their path.

    All other measures, and the bundled models, need no download.
    """
    from ncsr.metrics.lpips_weights import fetch_weights

    print(fetch_weights(folder, source))
