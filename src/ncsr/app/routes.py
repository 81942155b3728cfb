"""The HTTP routes of the page, apart from its jobs: its files, visits, photographs, pictures and downloads."""

from __future__ import annotations

import html
import json
import mimetypes
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from ncsr.app import downloads, photographs
from ncsr.app.jobs import MOST_FRAMES, MOST_SAMPLES, Studio
from ncsr.app.overlays import overlay
from ncsr.app.visits import Visit, Visits
from ncsr.errors import InputError

_STATIC = files("ncsr.app") / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Page(NamedTuple):
    """What the routes share; the server has it as `state.page`.

    Attributes:
        studio: makes the pictures.
        visits: of all visitors.
        jobs: names of the jobs, in the order of Gradio's numbering.
        max_pixels: the largest photograph.
        max_bytes: the largest file.
    """

    studio: Studio
    visits: Visits
    jobs: list[str]
    max_pixels: int
    max_bytes: int


async def _of_server(request: Request) -> Page:
    page: Page = request.app.state.page
    return page


Shared = Annotated[Page, Depends(_of_server)]


async def _of_visitor(id: str, page: Shared) -> Visit:
    return page.visits.get(id)


Visitor = Annotated[Visit, Depends(_of_visitor)]


# -- the page


def _page(page: Shared) -> Response:
    settings = {
        "jobs": page.jobs,
        "models": [
            {"name": name, "temperature": config.temperature, "scale": config.scale}
            for name, config in page.studio.models.items()
        ],
        "maxPixels": page.max_pixels,
        "maxBytes": page.max_bytes,
        "mostSamples": MOST_SAMPLES,
        "mostFrames": MOST_FRAMES,
    }
    text = (_STATIC / "page.html").read_text(encoding="utf-8")
    return Response(text.replace("{settings}", html.escape(json.dumps(settings))), media_type="text/html")


def _static(name: str) -> Response:
    found = next((file for file in _STATIC.iterdir() if file.name == name), None)
    if found is None:
        return Response(status_code=404)
    return Response(found.read_bytes(), media_type=_TYPES.get(Path(name).suffix, "application/octet-stream"))


# -- visits and their photographs


def _open(page: Shared) -> dict[str, str]:
    return {"id": page.visits.open().id}


def _alive(visit: Visitor) -> dict[str, bool]:
    return {"alive": True}


def _leave(id: str, page: Shared) -> dict[str, bool]:
    page.visits.leave(id)
    return {"left": True}


async def _photograph(visit: Visitor, page: Shared, title: str, request: Request, scale: int = 0) -> dict[str, Any]:
    photographs.check_title(title)
    if scale not in (0, *(config.scale for config in page.studio.models.values())):
        raise InputError(f"no model here enlarges by {scale}: choose another for this reference")
    path = visit.folder / f"{visit.new_name('upload')}{Path(title).suffix.lower()}"
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                if file.tell() + len(chunk) > page.max_bytes:
                    raise InputError(f"{title[:80]} is too large: up to {page.max_bytes / 1e6:g} MB are taken")
                file.write(chunk)
        chosen: dict[str, Any] = await run_in_threadpool(_chosen, visit, path, title[:80], scale, page.max_pixels)
        return chosen
    finally:
        path.unlink(missing_ok=True)


def _example(visit: Visitor, page: Shared) -> dict[str, Any]:
    return _chosen(visit, Path(str(files("ncsr.app") / "example.png")), "cat.png", 0, page.max_pixels)


def _chosen(visit: Visit, path: Path, title: str, scale: int, max_pixels: int) -> dict[str, Any]:
    """Choose a photograph or, with a scale, a reference; returns its description for the page."""
    if scale:
        photographs.choose_reference(visit, path, title, scale, max_pixels)
    else:
        photographs.choose_photograph(visit, path, title, max_pixels)
    assert visit.photograph is not None
    height, width = visit.photograph.lr.shape[-2:]
    return {"title": visit.photograph.title, "height": height, "width": width, "reference": visit.reference is not None}


# -- pictures and downloads


def _remove(name: str, visit: Visitor) -> dict[str, bool]:
    visit.picture(name)
    visit.remove(name)
    return {"removed": True}


def _file(name: str, visit: Visitor) -> Response:
    path = visit.file(name)
    if path is None:
        return Response(status_code=404)
    return Response(path.read_bytes(), media_type=mimetypes.guess_type(path.name)[0])


def _overlay(kind: str, visit: Visitor, picture: str) -> Response:
    found = overlay(visit, kind, picture)
    return Response(status_code=204) if found is None else Response(found, media_type="image/png")


def _download(what: str, visit: Visitor, page: Shared, picture: str = "") -> Response:
    if what == "all":
        return _attached(downloads.archive(visit), "ncsr-pictures.zip")
    if what == "sheet":
        return _attached(downloads.sheet(visit), "ncsr-sheet.png")
    chosen = visit.picture(picture)
    if what == "latents":
        content = downloads.latents(visit, picture, page.studio.renderer(visit))
        return _attached(content, downloads.file_name(visit, chosen, ".safetensors"))
    return _attached((visit.folder / f"{picture}.png").read_bytes(), downloads.file_name(visit, chosen, ".png"))


def _attached(content: bytes, name: str) -> Response:
    """A file that the browser saves."""
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )


router = APIRouter()
for _method, _path, _endpoint in (
    ("GET", "/", _page),
    ("GET", "/static/{name}", _static),
    ("POST", "/visits", _open),
    ("POST", "/visits/{id}/alive", _alive),
    ("POST", "/visits/{id}/leave", _leave),
    ("POST", "/visits/{id}/photograph", _photograph),
    ("POST", "/visits/{id}/example", _example),
    ("POST", "/visits/{id}/remove/{name}", _remove),
    ("GET", "/visits/{id}/files/{name}", _file),
    ("GET", "/visits/{id}/overlays/{kind}", _overlay),
    ("GET", "/visits/{id}/download/{what}", _download),
):
    router.add_api_route(_path, _endpoint, methods=[_method], response_model=None)
