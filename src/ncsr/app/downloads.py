"""The files that a visitor can download: a picture, all of them, a contact sheet, latents."""

from __future__ import annotations

import io
import json
import re
import zipfile

from PIL import Image

from ncsr.app.rendering import Renderer
from ncsr.app.visits import Picture, Visit, decibels
from ncsr.errors import InputError
from ncsr.images.origin import together
from ncsr.images.pil import recorded
from ncsr.images.sheet import contact_sheet
from ncsr.upscaling.provenance import provenance


def file_name(visit: Visit, picture: Picture, suffix: str) -> str:
    """The name of a picture's download, made of the photograph's title and the picture's label on the page."""
    title = visit.photograph.title if visit.photograph else "photograph"
    words = re.sub(r"[^\w.-]+", "-", f"{title} {picture.label}".lower()).strip("-.")
    return f"{words[:80]}-{picture.name}{suffix}"


def archive(visit: Visit) -> bytes:
    """All pictures as a ZIP file, with `pictures.json`, which says how each was made."""
    described = {}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for picture in _pictures(visit):
            name = file_name(visit, picture, ".png")
            archive.write(visit.folder / f"{picture.name}.png", name)
            described[name] = {"made": picture.made, "model": visit.model, "lr_psnr": decibels(picture.lr_psnr, 2)}
        archive.writestr("pictures.json", json.dumps(described, indent=2, allow_nan=False))
    return content.getvalue()


def sheet(visit: Visit) -> bytes:
    """All pictures on one contact sheet, as PNG with a record of their origin."""
    panels, origins = [], []
    for picture in _pictures(visit):
        path = visit.folder / f"{picture.name}.png"
        if (origin := provenance(path)) is not None:
            origins.append(origin)
        with Image.open(path) as file:
            psnr = decibels(picture.lr_psnr, 1)
            shown = "exact" if psnr is None else f"{psnr:.1f} dB"
            panels.append((f"{picture.label}, LR-PSNR {shown}", file.convert("RGB")))
    content = io.BytesIO()
    recorded(contact_sheet(panels), together(origins, "contact sheet").record()).save(content, "PNG")
    return content.getvalue()


def latents(visit: Visit, name: str, renderer: Renderer) -> bytes:
    """The latents of a picture, as a file that `Latents.load` reads."""
    path = visit.folder / f"{name}-latents.safetensors"
    renderer.latents(visit.picture(name).latents).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def _pictures(visit: Visit) -> list[Picture]:
    """A list of the visitor's pictures, which a job that runs meanwhile does not change.

    Raises:
        InputError: there are none.
    """
    pictures = visit.shown()
    if not pictures:
        raise InputError("there are no pictures yet: make samples first")
    return pictures
