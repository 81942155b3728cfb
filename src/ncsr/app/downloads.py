"""What a visitor takes home: a picture, all of them, a sheet, the latents."""

from __future__ import annotations

import io
import json
import re
import zipfile

from PIL import Image

from ncsr.app.rendering import Canvas
from ncsr.app.visits import Picture, Visit, decibels
from ncsr.errors import InputError
from ncsr.images.origin import together
from ncsr.images.pil import recorded
from ncsr.images.sheet import contact_sheet
from ncsr.upscaling.provenance import provenance


def file_name(visit: Visit, picture: Picture, suffix: str) -> str:
    """The name under which a visitor saves a picture: the photograph's, and what the page calls it."""
    title = visit.photograph.title if visit.photograph else "photograph"
    words = re.sub(r"[^\w.-]+", "-", f"{title} {picture.label}".lower()).strip("-.")
    return f"{words[:80]}-{picture.name}{suffix}"


def archive(visit: Visit) -> bytes:
    """All pictures as a ZIP file, with a list of how each was made."""
    told = {}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for picture in _pictures(visit):
            name = file_name(visit, picture, ".png")
            archive.write(visit.folder / f"{picture.name}.png", name)
            told[name] = {"made": picture.made, "model": visit.model, "lr_psnr": decibels(picture.lr_psnr, 2)}
        archive.writestr("pictures.json", json.dumps(told, indent=2, allow_nan=False))
    return content.getvalue()


def sheet(visit: Visit) -> bytes:
    """All pictures on one contact sheet, as PNG that says where they come from."""
    panels, origins = [], []
    for picture in _pictures(visit):
        path = visit.folder / f"{picture.name}.png"
        origins += [origin for origin in [provenance(path)] if origin]
        with Image.open(path) as file:
            agreeing = decibels(picture.lr_psnr, 1)
            told = "exact" if agreeing is None else f"{agreeing:.1f} dB"
            panels.append((f"{picture.label}, LR-PSNR {told}", file.convert("RGB")))
    content = io.BytesIO()
    recorded(contact_sheet(panels), together(origins, "contact sheet").record()).save(content, "PNG")
    return content.getvalue()


def latents(visit: Visit, name: str, canvas: Canvas) -> bytes:
    """The latents of a picture, as a file that `Latents.load` reads."""
    path = visit.folder / f"{name}-latents.safetensors"
    canvas.latents(visit.picture(name).latents).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def _pictures(visit: Visit) -> list[Picture]:
    """Those that there are now: a job may add others meanwhile."""
    pictures = visit.shown()
    if not pictures:
        raise InputError("there are no pictures yet: make samples first")
    return pictures
