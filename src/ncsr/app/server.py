"""The server of the page: a Gradio server whose queue runs the jobs, and routes of its own for all else.

Whatever a visitor has is reached by a secret that only their browser knows, which is also Gradio's session. Of Gradio's
own routes only those of the queue are open.
"""

from __future__ import annotations

import html
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import gradio
from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from ncsr.app import downloads, photographs
from ncsr.app.jobs import MOST_FRAMES, MOST_SAMPLES, Studio
from ncsr.app.overlays import overlay
from ncsr.app.ports import free_port
from ncsr.app.rendering import Event
from ncsr.app.visits import Visit, Visits
from ncsr.errors import InputError, SamplingError
from ncsr.runtime.memory import is_exhaustion

_STATIC = files("ncsr.app") / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_OURS = ("/", "/static/", "/visits", "/gradio_api/queue/", "/gradio_api/cancel", "/gradio_api/startup-events")
_POLICY = "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def serve(studio: Studio, host: str, port: int, max_pixels: int, max_bytes: int, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted.

    Args:
        studio: makes the pictures.
        host: the address to listen on; 127.0.0.1 is this machine alone.
        port: to listen on; 0 takes a free one.
        max_pixels: of a photograph.
        max_bytes: of its file.
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
    """Do what the first visitor would wait for."""
    studio.model(next(iter(studio.models)))
    with suppress(ImportError):
        import_module("matplotlib.pyplot")  # Gradio imports it at the first job, where it is installed


def make_server(studio: Studio, visits: Visits, host: str, max_pixels: int, max_bytes: int) -> gradio.Server:
    """The server, before it is launched."""
    server = gradio.Server(title="ncsr", docs_url=None, redoc_url=None, openapi_url=None)
    server.add_middleware(_Guard, host=host)

    def refuse(_: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    # -- jobs, which wait in one queue; the order of their names is Gradio's numbering

    def job(name: str, run: Callable[..., Iterator[Event]]) -> None:
        def stream(values: dict, request: gradio.Request) -> Iterator[dict]:  # type: ignore[type-arg]
            visit = visits.get(request.session_hash)
            yield from _guarded(run(visit, **values), visit)

        server.api(stream, name=name, concurrency_limit=1, concurrency_id="one job at a time")

    jobs: dict[str, Callable[..., Iterator[Event]]] = {
        "samples": studio.samples,
        "redraw": studio.redraw,
        "temper": studio.temper,
        "combine": studio.combine,
        "walk": studio.walk,
        "encode": studio.encode,
        "texture": studio.texture,
    }
    for name, run in jobs.items():
        job(name, run)

    # -- the page

    settings = {
        "jobs": list(jobs),
        "models": [
            {"name": name, "temperature": config.temperature, "scale": config.scale}
            for name, config in studio.models.items()
        ],
        "maxPixels": max_pixels,
        "maxBytes": max_bytes,
        "mostSamples": MOST_SAMPLES,
        "mostFrames": MOST_FRAMES,
    }

    def page() -> Response:
        text = (_STATIC / "page.html").read_text(encoding="utf-8")
        return Response(text.replace("{settings}", html.escape(json.dumps(settings))), media_type="text/html")

    def static(name: str) -> Response:
        found = next((file for file in _STATIC.iterdir() if file.name == name), None)
        if found is None:
            return Response(status_code=404)
        return Response(found.read_bytes(), media_type=_TYPES.get(Path(name).suffix, "application/octet-stream"))

    # -- visits

    def open_visit() -> dict[str, str]:
        return {"id": visits.open().id}

    def alive(id: str) -> dict[str, bool]:
        visits.get(id)
        return {"alive": True}

    def leave(id: str) -> dict[str, bool]:
        visits.leave(id)
        return {"left": True}

    async def photograph(id: str, title: str, request: Request, scale: int = 0) -> dict[str, Any]:
        visit = visits.get(id)
        photographs.check_title(title)
        path = visit.folder / f"{visit.new_name('upload')}{Path(title).suffix.lower()}"
        try:
            with path.open("wb") as file:
                async for chunk in request.stream():
                    if file.tell() + len(chunk) > max_bytes:
                        raise InputError(f"{title[:80]} is too large: up to {max_bytes / 1e6:g} MB are taken")
                    file.write(chunk)
            told: dict[str, Any] = await run_in_threadpool(_chosen, visit, path, title[:80], scale, max_pixels)
            return told
        finally:
            path.unlink(missing_ok=True)

    def example(id: str) -> dict[str, Any]:
        return _chosen(visits.get(id), Path(str(files("ncsr.app") / "example.png")), "cat.png", 0, max_pixels)

    def remove(id: str, name: str) -> dict[str, bool]:
        visit = visits.get(id)
        visit.picture(name)
        visit.remove(name)
        return {"removed": True}

    def file(id: str, name: str) -> Response:
        path = visits.get(id).file(name)
        return Response(status_code=404) if path is None else FileResponse(path)

    def over(id: str, kind: str, picture: str) -> Response:
        found = overlay(visits.get(id), kind, picture)
        return Response(status_code=204) if found is None else Response(found, media_type="image/png")

    def download(id: str, what: str, picture: str = "") -> Response:
        visit = visits.get(id)
        if what == "all":
            return _attached(downloads.archive(visit), "ncsr-pictures.zip")
        if what == "sheet":
            return _attached(downloads.sheet(visit), "ncsr-sheet.png")
        chosen = visit.picture(picture)
        if what == "latents":
            content = downloads.latents(visit, picture, studio.canvas(visit))
            return _attached(content, downloads.file_name(visit, chosen, ".safetensors"))
        return _attached((visit.folder / f"{picture}.png").read_bytes(), downloads.file_name(visit, chosen, ".png"))

    server.add_exception_handler(InputError, refuse)
    for method, path, endpoint in (
        ("GET", "/", page),
        ("GET", "/static/{name}", static),
        ("POST", "/visits", open_visit),
        ("POST", "/visits/{id}/alive", alive),
        ("POST", "/visits/{id}/leave", leave),
        ("POST", "/visits/{id}/photograph", photograph),
        ("POST", "/visits/{id}/example", example),
        ("POST", "/visits/{id}/remove/{name}", remove),
        ("GET", "/visits/{id}/files/{name}", file),
        ("GET", "/visits/{id}/overlays/{kind}", over),
        ("GET", "/visits/{id}/download/{what}", download),
    ):
        server.add_api_route(path, endpoint, methods=[method], response_model=None)
    return server


class _Guard:
    """Lets through what the page needs, from the page itself; nothing is cached, nothing comes from elsewhere."""

    def __init__(self, app: Any, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        ours = path == "/" or any(path.startswith(start) for start in _OURS[1:])
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if self._host == "127.0.0.1":  # a name of another site that was made to point here
            foreign |= headers.get("host", "").partition(":")[0] not in ("127.0.0.1", "localhost")
        if not ours or foreign:
            await Response(status_code=403 if foreign else 404)(scope, receive, send)
            return

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (b"content-security-policy", _POLICY.encode()),
                    (b"cache-control", b"no-store"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self._app(scope, receive, answer)


def _guarded(events: Iterator[Event], visit: Visit) -> Iterator[Event]:
    """The events of a job until its visitor leaves; what goes wrong for a reason is one sentence."""
    try:
        for event in events:
            if visit.ended.is_set():
                return
            yield event
        yield {"event": "done"}
    except (InputError, SamplingError) as error:
        raise gradio.Error(str(error), print_exception=False) from None
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        raise gradio.Error(
            "there is not enough memory: take a smaller photograph or fewer samples", print_exception=False
        ) from None


def _chosen(visit: Visit, path: Path, title: str, scale: int, max_pixels: int) -> dict[str, Any]:
    """Choose a photograph, or with a scale a reference; what the page is told of it."""
    if scale:
        photographs.choose_reference(visit, path, title, scale, max_pixels)
    else:
        photographs.choose_photograph(visit, path, title, max_pixels)
    assert visit.photograph is not None
    height, width = visit.photograph.lr.shape[-2:]
    return {"title": visit.photograph.title, "height": height, "width": width, "reference": visit.reference is not None}


def _attached(content: bytes, name: str) -> Response:
    """A file that the browser saves."""
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )
