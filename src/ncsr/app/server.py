"""The server of the page: a Gradio server whose queue runs the jobs, with routes of this package for everything else.

A visitor's data are found only by a secret that their browser knows, which is also Gradio's session hash. Of Gradio's
own routes only those of the queue are open.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio
from fastapi import Request
from fastapi.responses import JSONResponse

from ncsr.app.guard import Guard
from ncsr.app.jobs import Studio
from ncsr.app.ports import free_port
from ncsr.app.rendering import Event
from ncsr.app.routes import Page, router
from ncsr.app.visits import Visit, Visits
from ncsr.errors import InputError, SamplingError
from ncsr.runtime.memory import is_exhaustion


def serve(studio: Studio, host: str, port: int, max_pixels: int, max_bytes: int, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        studio: makes the pictures.
        host: the address to listen on; 127.0.0.1 is this machine alone.
        port: to listen on; 0 takes a free one.
        max_pixels: the largest photograph that visitors may send.
        max_bytes: its largest file.
        ready: called with the page's address.

    Raises:
        InputError: the port is taken.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    port = free_port(host, port)
    with TemporaryDirectory(prefix="ncsr-app-") as folder:
        visits, stop = Visits(Path(folder), studio.forget), threading.Event()
        server = make_server(studio, visits, host, max_pixels, max_bytes)
        server.launch(
            server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, max_file_size=1, _frontend=False
        )
        threading.Thread(target=_make_ready, args=[studio], daemon=True).start()
        try:
            ready(f"http://{'localhost' if host == '0.0.0.0' else host}:{port}")
            while not stop.wait(30):
                visits.leave_idle()
        finally:
            server.get_blocks().close(verbose=False)


def _make_ready(studio: Studio) -> None:
    """Load the default model and what Gradio needs, for which the first visitor would have to wait."""
    studio.model(next(iter(studio.models)))
    with suppress(ImportError):
        import_module("matplotlib.pyplot")  # Gradio imports it at the first job, where it is installed


def make_server(studio: Studio, visits: Visits, host: str, max_pixels: int, max_bytes: int) -> gradio.Server:
    """The server, before it is launched."""
    jobs: dict[str, Callable[..., Iterator[Event]]] = {
        "samples": studio.samples,
        "redraw": studio.redraw,
        "temper": studio.temper,
        "combine": studio.combine,
        "walk": studio.walk,
        "encode": studio.encode,
        "texture": studio.texture,
    }
    server = gradio.Server(title="ncsr", docs_url=None, redoc_url=None, openapi_url=None)
    server.add_middleware(Guard, host=host)
    server.add_exception_handler(InputError, _refused)
    server.add_exception_handler(FileNotFoundError, _gone)
    server.include_router(router)
    server.state.page = Page(studio, visits, list(jobs), max_pixels, max_bytes)
    for name, run in jobs.items():
        server.api(_streamed(run, visits), name=name, concurrency_limit=1, concurrency_id="one job at a time")
    return server


def _refused(_: Request, error: InputError) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 400)


def _gone(_: Request, error: FileNotFoundError) -> JSONResponse:
    """The answer to a request during which the visitor left, or removed the picture: its files are gone."""
    return JSONResponse({"error": "this picture is gone: it was removed, or its visit has ended"}, 404)


def _streamed(run: Callable[..., Iterator[Event]], visits: Visits) -> Callable[..., Iterator[Event]]:
    """A job as Gradio's queue calls it."""

    def stream(values: dict, request: gradio.Request) -> Iterator[Event]:  # type: ignore[type-arg]
        visit = visits.get(request.session_hash)
        yield from _guarded(run(visit, **values), visit)

    return stream


def _guarded(events: Iterator[Event], visit: Visit) -> Iterator[Event]:
    """The events of a job until its visitor leaves; errors that are no bugs become one sentence on the page."""
    try:
        for event in events:
            if visit.ended.is_set():
                return
            yield event
        yield {"event": "done"}
    except (InputError, SamplingError) as error:
        raise gradio.Error(str(error), print_exception=False) from None
    except FileNotFoundError:
        if not visit.ended.is_set():  # the visitor's folder goes when they leave
            raise
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        raise gradio.Error(
            "there is not enough memory: take a smaller photograph or fewer samples", print_exception=False
        ) from None
