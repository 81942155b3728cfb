"""The jobs of the page: each is a generator of events, and can be stopped between any two of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ncsr.app.maps import heat, unlikely
from ncsr.app.rendering import Event, Pace, Renderer
from ncsr.app.visits import MOST_PICTURES, Drawn, Picture, Visit, decibels
from ncsr.errors import InputError
from ncsr.images import write_pixels
from ncsr.images.origin import Kind, Provenance, plain
from ncsr.images.sheet import thumbnail
from ncsr.images.xmp import packet_of
from ncsr.latents import Latents, blend, interpolate, normalise, temper
from ncsr.metrics import lr_psnr
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.pretrained.load import find_model, load
from ncsr.runtime.device import pick_device
from ncsr.serialization import read_config
from ncsr.space.checks import check_sampling
from ncsr.upscaling.provenance import model_name, provenance_of
from ncsr.upscaling.tiling import SampleRequest, Tile

MOST_SAMPLES, MOST_FRAMES = 8, 32
_MILLISECONDS = 80  # of a frame of a walk


class _Made(NamedTuple):
    """A picture that is about to be made; fields as in `Picture`."""

    name: str
    label: str
    made: str
    latents: Drawn | Latents


class _Part(NamedTuple):
    """For a picture about to be made that equals `base` but in some tiles: which ones."""

    base: Picture
    tiles: list[Tile]


class Studio:
    """Makes the pictures of all visitors, one job at a time.

    Args:
        models: names of the models that visitors may choose, the default first.
        device: as for `ncsr.load`.

    Attributes:
        models: the configurations, by name.

    Raises:
        InputError: there is no such model or device.
    """

    def __init__(self, models: Sequence[str], device: str = "auto") -> None:
        pick_device(device)
        self.models = {name: read_config(find_model(name)) for name in models}
        self._device, self._lock = device, Lock()
        self._loaded, self._origins = dict[str, NCSR](), dict[str, Provenance]()
        self._renderer: Renderer | None = None  # of the photograph that was last at work

    def model(self, name: str) -> NCSR:
        """The model of this name, opened when it is first asked for."""
        with self._lock:
            if name not in self._loaded:
                model = load(name, self._device)
                self._origins[name] = provenance_of(model, model_name(name), SampleRequest(1, 1.0, 0))
                # What depends on the weights alone is computed, and the memory that a photograph takes is at hand.
                model.space(torch.zeros(1, 3, 64, 64)).sample(seed=0)
                self._loaded[name] = model
        return self._loaded[name]

    def samples(
        self, visit: Visit, model: str, n: int, temperature: float, seed: int | None, kept: list[str]
    ) -> Iterator[Event]:
        """Make new pictures: bicubic, then the first sample, temperature 0 and the other samples.

        All earlier pictures are removed, except those in `kept` if the model is the same.

        Raises:
            InputError: no photograph or no such model; what `Space.sample` refuses.
        """
        if not 1 <= n <= MOST_SAMPLES:
            raise InputError(f"the number of samples must be 1 to {MOST_SAMPLES}, got {n}")
        seed = check_sampling(n, temperature, seed)
        if model not in self.models:
            raise InputError(f"there is no model {model!r} here: choose one of {', '.join(self.models)}")
        visit.keep_only(kept if model == visit.model else [])
        visit.model = model
        if visit.photograph is None:
            raise InputError("there is no photograph: choose one first")
        yield {"event": "began", "seed": seed, "kept": list(visit.pictures)}
        enlarged = imresize(visit.photograph.lr, self.models[model].scale)[0].clamp(0, 1)
        yield self._add(visit, visit.new_name("p"), "Bicubic", "bicubic interpolation", None, enlarged)
        if visit.reference is not None:
            how = "the photograph that was reduced"
            yield self._add(visit, visit.new_name("p"), "Reference", how, None, visit.reference[0])
        renderer = self.renderer(visit)
        drawn = [Drawn(seed, k, temperature) for k in range(n if temperature else 0)]
        how = f"seed {seed} at temperature {temperature:g}"
        calmest = _Made(visit.new_name("p"), "Temperature 0", "the most probable image", Drawn(seed, 0, 0.0))
        samples = [
            _Made(visit.new_name("p"), f"Sample {d.number + 1}", f"sample {d.number} of {how}", d) for d in drawn
        ]
        yield from self._show(visit, renderer, [*samples[:1], calmest, *samples[1:]])

    def redraw(
        self, visit: Visit, base: str, mask: str, n: int, temperature: float, seed: int | None
    ) -> Iterator[Event]:
        """Draw the painted part of picture `base` anew, n times; everything else stays."""
        if not 1 <= n <= MOST_SAMPLES:
            raise InputError(f"the number of samples must be 1 to {MOST_SAMPLES}, got {n}")
        seed = check_sampling(n, temperature, seed)
        renderer, picture = self.renderer(visit), visit.picture(base)
        where, kept = _mask_of(mask, renderer), renderer.latents(picture.latents)
        part = _Part(picture, renderer.touched(where))
        made = [
            _Made(
                visit.new_name("p"),
                f"{picture.label}, redrawn {k + 1}",
                f"{picture.made}; a part drawn again: sample {k} of seed {seed} at temperature {temperature:g}",
                blend(renderer.latents(Drawn(seed, k, temperature)), kept, where),
            )
            for k in range(n)
        ]
        yield from self._show(visit, renderer, made, part)

    def temper(self, visit: Visit, base: str, mask: str, factor: float) -> Iterator[Event]:
        """Multiply the temperature of a picture where it is painted: a factor below 1 smooths, above 1 adds detail."""
        renderer, picture = self.renderer(visit), visit.picture(base)
        latents, where = renderer.latents(picture.latents), _mask_of(mask, renderer)
        how = f"{picture.made}; temperature times {factor:g} in a part"
        made = _Made(
            visit.new_name("p"), f"{picture.label}, × {factor:g}", how, temper(latents, 1 + (factor - 1) * where)
        )
        yield from self._show(visit, renderer, [made], _Part(picture, renderer.touched(where)))

    def combine(self, visit: Visit, base: str, other: str, mask: str) -> Iterator[Event]:
        """Picture `base` with its painted part taken from picture `other`, blended in the latent space."""
        renderer, outside, inside = self.renderer(visit), visit.picture(base), visit.picture(other)
        where = _mask_of(mask, renderer)
        mixed = blend(renderer.latents(inside.latents), renderer.latents(outside.latents), where)
        how = f"{outside.made}; a part from: {inside.made}"
        made = _Made(visit.new_name("p"), f"{outside.label} + {inside.label}", how, mixed)
        yield from self._show(visit, renderer, [made], _Part(outside, renderer.touched(where)))

    def walk(self, visit: Visit, base: str, other: str, frames: int) -> Iterator[Event]:
        """A walk through the space from one picture to another: its frames, and there and back as an animated GIF."""
        if not 2 <= frames <= MOST_FRAMES:
            raise InputError(f"the number of frames must be 2 to {MOST_FRAMES}, got {frames}")
        renderer = self.renderer(visit)
        start, end = (renderer.latents(visit.picture(name).latents) for name in (base, other))
        pace, pictures, name = Pace(renderer.parts(frames)), list[Image.Image](), visit.new_name("walk")
        record = self._origin(visit, "walk").record()
        for i in range(frames):
            what = f"frame {i + 1} of {frames}"
            image = yield from renderer.render(interpolate(start, end, i / (frames - 1)), pace, what)
            pictures.append(thumbnail(Image.fromarray(_pixels(image))))
            pictures[-1].save(visit.folder / f"{name}-{i}.webp", quality=95, xmp=packet_of(record))
        first, *others = pictures + pictures[-2:0:-1]
        timing = {"duration": _MILLISECONDS, "loop": 0}
        first.save(visit.folder / f"{name}.gif", "GIF", save_all=True, append_images=others, comment=record, **timing)
        yield {"event": "walk", "name": name, "frames": frames, "milliseconds": _MILLISECONDS}

    def encode(self, visit: Visit, remember: bool) -> Iterator[Event]:
        """Encode the reference: make a picture of its latents with a likelihood map.

        With `remember`, its latents are kept instead, as a texture for other photographs.
        """
        renderer = self.renderer(visit)
        if visit.reference is None:
            raise InputError("there is no reference: give a high-resolution photograph first")
        pace = Pace(len(renderer.tiles) * (1 if remember else 2))
        latents = yield from renderer.encode(visit.reference, pace, "encoding the reference")
        if remember:
            visit.texture = latents
            yield {"event": "texture"}
            return
        density = yield from renderer.log_prob_map(visit.reference, pace, "finding what is improbable")
        image = visit.reference[0]
        name, record = visit.new_name("p"), self._origin(visit, "likelihood map").record()
        event = self._add(visit, name, "Reference, encoded", "the latents of the reference", latents, image)
        write_pixels(visit.folder / f"{name}-likelihood.png", heat(unlikely(density)), None, None, record=record)
        yield event

    def texture(self, visit: Visit, temperature: float) -> Iterator[Event]:
        """Give this photograph the texture that was remembered of another one."""
        renderer = self.renderer(visit)
        if visit.texture is None:
            raise InputError("no texture was remembered: choose a reference and remember its texture first")
        fitted = _fitted(visit.texture, renderer.latents(Drawn(0, 0, 1.0)))
        how = f"texture of a reference, temperature {temperature:g}"
        made = _Made(visit.new_name("p"), "With the texture", how, normalise(fitted, temperature))
        yield from self._show(visit, renderer, [made])

    def renderer(self, visit: Visit) -> Renderer:
        """The renderer of a visitor's photograph; only the last one is kept."""
        if visit.photograph is None or visit.ended.is_set():
            raise InputError("there is no photograph: choose one first")
        model, lr = self.model(visit.model), visit.photograph.lr
        if self._renderer is None or self._renderer.lr is not lr or self._renderer.model is not model:
            self._renderer = None  # before the next one takes memory
            self._renderer = Renderer.of(model, lr)
        return self._renderer

    def forget(self, visit: Visit) -> None:
        """Let go of what was computed of a visitor's photograph."""
        renderer, photograph = self._renderer, visit.photograph
        if renderer is not None and photograph is not None and renderer.lr is photograph.lr:
            self._renderer = None

    def _show(
        self, visit: Visit, renderer: Renderer, made: Sequence[_Made], part: _Part | None = None
    ) -> Iterator[Event]:
        """Render pictures, one after the other."""
        if len(visit.pictures) + len(made) > MOST_PICTURES:
            raise InputError(f"{MOST_PICTURES} pictures are the most that are kept: remove some, or make new samples")
        area = None if part is None else part.tiles
        pace = Pace(renderer.parts(len(made), area))
        for i, (name, label, how, latents) in enumerate(made, 1):
            base = None if part is None else torch.from_numpy(visit.pixels(part.base)).permute(2, 0, 1) / 255
            image = yield from renderer.render(latents, pace, f"picture {i} of {len(made)}", area, base)
            yield self._add(visit, name, label, how, latents, image)

    def _add(
        self, visit: Visit, name: str, label: str, made: str, latents: Drawn | Latents | None, image: Tensor
    ) -> Event:
        """Write a picture (3, H, W) and add it to the visit; returns the event for the page."""
        photograph = visit.photograph
        assert photograph is not None
        psnr = float(lr_psnr(image[None], photograph.lr)[0])
        stored = visit.folder / f"{name}.safetensors"
        if isinstance(latents, Latents):
            latents.save(stored)
        picture = Picture(name, label, made, stored if isinstance(latents, Latents) else latents, psnr)
        record = self._record(visit, picture)
        write_pixels(visit.folder / f"{name}.png", _pixels(image), photograph.icc, None, record=record)
        visit.pictures[name] = picture
        return {
            "event": "picture",
            "picture": {
                "name": name,
                "label": label,
                "made": made,
                "lrPsnr": decibels(psnr, 1),
                "editable": latents is not None and self.models[visit.model].flow is not None,
            },
        }

    def _record(self, visit: Visit, picture: Picture) -> str:
        """The record of a picture's origin for its file."""
        if picture.latents is None or picture.label.startswith("Reference"):
            return plain("bicubic enlargement" if picture.label == "Bicubic" else "photograph").record()
        if not isinstance(picture.latents, Drawn):
            return self._origin(visit, "changed sample").record()
        seed, number, temperature = picture.latents
        facts = {"samples": [number], "seed": seed if temperature else None, "temperature": float(temperature)}
        origin = self._origin(visit, "sample" if temperature else "most probable image")
        return origin.model_copy(update=facts).record()

    def _origin(self, visit: Visit, picture: Kind) -> Provenance:
        """The provenance of a picture that the model makes of a visitor's photograph; names no samples."""
        renderer, photograph = self.renderer(visit), visit.photograph
        assert photograph is not None
        height, width = renderer.lr.shape[-2:]
        side = renderer.tiles[0].bottom if len(renderer.tiles) > 1 else max(height, width)
        facts: dict[str, Any] = {"picture": picture, "samples": [], "seed": None, "temperature": None}
        return self._origins[visit.model].of(photograph.sha256, (height, width), side).model_copy(update=facts)


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return pixels


def _mask_of(text: str, renderer: Renderer) -> Tensor:
    """The mask (h, w), in [0, 1], that the page sends as one byte per pixel of the photograph, in base64.

    Raises:
        InputError: the number of bytes is wrong, or nothing is painted.
    """
    height, width = renderer.lr.shape[-2:]
    try:
        levels = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        levels = np.zeros(0, np.uint8)
    if levels.size != height * width:
        raise InputError("what was painted does not fit this photograph: paint it again")
    if not levels.any():
        raise InputError("nothing is painted: paint over the part that is to change")
    return torch.from_numpy(levels.reshape(height, width).astype(np.float32) / 255)


def _fitted(texture: Latents, wanted: Latents) -> Latents:
    """The latents `texture` of one photograph at the size of `wanted`, those of another: reflected, or cut.

    Raises:
        InputError: they are of a model with other latents.
    """
    if [z.shape[1] for z in texture] != [z.shape[1] for z in wanted]:
        raise InputError("the texture was remembered with a model of another kind: remember it again with this one")

    def indices(have: int, want: int) -> Tensor:
        there = torch.arange(want) % (2 * have)
        return torch.minimum(there, 2 * have - 1 - there)

    fitted = [
        z[..., indices(z.shape[-2], w.shape[-2]), :][..., indices(z.shape[-1], w.shape[-1])]
        for z, w in zip(texture, wanted, strict=True)
    ]
    return Latents(tuple(fitted), wanted.lr_shape)
