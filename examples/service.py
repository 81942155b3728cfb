"""A service that enlarges photographs: `uvicorn examples.service:app`, with the extra `app`, which brings FastAPI.

curl --data-binary @photo.png "http://127.0.0.1:8000/upscale?seed=1" -o large.png
"""

from __future__ import annotations

import io
import threading
from functools import cache

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from PIL import Image

import ncsr

MAX_BYTES, MAX_PIXELS = 20_000_000, 512 * 512
app = FastAPI(title="ncsr")
one_at_a_time = threading.Lock()  # two at once would take twice the memory and be no quicker


@cache
def model() -> ncsr.NCSR:
    """The model, loaded once."""
    return ncsr.load("x4-small")


@app.post("/upscale")
async def upscale(request: Request, seed: int = 0, temperature: float | None = None) -> Response:
    """The body is a photograph's file; the answer is one sample of it, four times as large, as PNG."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(413, f"at most {MAX_BYTES} bytes")
    try:
        png, seed = await run_in_threadpool(enlarge, bytes(body), seed, temperature)
    except ncsr.InputError as error:
        raise HTTPException(400, str(error)) from None
    return Response(png, media_type="image/png", headers={"X-Seed": str(seed)})


def enlarge(file: bytes, seed: int, temperature: float | None) -> tuple[bytes, int]:
    """The PNG file of a sample, and its seed."""
    try:
        photo = Image.open(io.BytesIO(file))
    except (OSError, Image.DecompressionBombError):
        raise ncsr.InputError("the body is no photograph that can be read") from None
    if photo.width * photo.height > MAX_PIXELS:
        raise ncsr.InputError(f"{photo.width} x {photo.height} pixels: at most {MAX_PIXELS} are taken")
    with one_at_a_time:
        (sample,) = ncsr.upscale(photo, model(), 1, seed=seed, temperature=temperature)
    written = io.BytesIO()
    sample.save(written, "PNG")
    return written.getvalue(), seed
