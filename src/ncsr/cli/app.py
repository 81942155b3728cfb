"""`ncsr app`."""

from __future__ import annotations

from typing import Annotated

import typer

from ncsr.cli.completion import model_names
from ncsr.cli.options import Device
from ncsr.errors import InputError, needs_extra


def app(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 7860,
    share: Annotated[
        str,
        typer.Option(metavar="no|yes", help="yes: everybody who can reach this machine by network can use the page."),
    ] = "no",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            help="A model to offer, as of upscale; may be given several times.",
            show_default="the bundled ones",
            autocompletion=model_names,
        ),
    ] = None,
    device: Device = "auto",
    max_pixels: Annotated[int, typer.Option(help="Most pixels of a visitor's photograph.")] = 512 * 512,
    max_megabytes: Annotated[int, typer.Option(help="Most megabytes of its file.")] = 20,
) -> None:
    """Open a page in which to enlarge photographs, compare samples, redraw parts and walk between them.

    It needs Gradio, which the extra `app` brings. Nothing leaves this machine; nothing is kept of what visitors bring.
    """
    from ncsr.app.jobs import Studio
    from ncsr.app.ports import free_port
    from ncsr.pretrained.load import bundled_models
    from ncsr.runtime.device import pick_device

    if share not in ("no", "yes"):
        raise InputError(f"--share must be no or yes, got {share!r}")
    if max_pixels < 16 or max_megabytes < 1:
        raise InputError("--max-pixels must be at least 16 and --max-megabytes at least 1")
    first = "x4-small" if pick_device(device).type == "cpu" else "x4"  # x4-small answers in seconds on a CPU
    host = "0.0.0.0" if share == "yes" else "127.0.0.1"
    port = free_port(host, port)  # before the imports, which take seconds
    studio = Studio(model or sorted(bundled_models(), key=lambda name: name != first), device)
    with needs_extra("app", "the page needs Gradio", "gradio", "fastapi"):
        from ncsr.app.server import serve

    serve(studio, host, port, max_pixels, max_megabytes * 10**6, lambda url: print(url, flush=True))
