"""Pictures in tiles: each tile's space is made once, and a changed part touches its tiles alone."""

from __future__ import annotations

import pytest
import torch

from ncsr.app import rendering
from ncsr.app.rendering import Pace, Renderer
from ncsr.app.visits import Drawn
from ncsr.latents import blend
from ncsr.upscaling.resume_log import ResumeLog
from ncsr.upscaling.tiling import SampleRequest, draw_tiles

SAMPLE = Drawn(3, 1, 0.8)


def finish(job):
    """The result of a generator, and what it yielded."""
    events = []
    while True:
        try:
            events.append(next(job))
        except StopIteration as end:
            return end.value, events


@pytest.fixture
def renderer(tiny_model, monkeypatch) -> Renderer:
    """40 x 72 pixels in tiles of 32."""
    monkeypatch.setattr(rendering, "_LARGEST", 32)
    return Renderer.of(tiny_model, torch.rand(1, 3, 40, 72, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def made(renderer, monkeypatch) -> list[tuple[int, int]]:
    """Where spaces were made."""
    places, make = [], type(renderer.model).space
    monkeypatch.setattr(
        type(renderer.model), "space", lambda *a, **how: (places.append(how["origin"]), make(*a, **how))[1]
    )
    return places


def test_a_picture_is_that_of_upscale_with_these_tiles(renderer):
    image, _ = finish(renderer.render(SAMPLE, Pace(renderer.parts(1)), ""))

    def read(tile):
        top, left, bottom, right = tile.window
        return renderer.lr[..., top:bottom, left:right]

    request = SampleRequest(1, SAMPLE.temperature, SAMPLE.seed, first=SAMPLE.number)
    for tile, _, part in draw_tiles(renderer.model, (1, 40, 72), 32, read, request, ResumeLog()):
        there = image[:, 4 * tile.top : 4 * tile.bottom, 4 * tile.left : 4 * tile.right]
        assert torch.equal(there, part[0].clamp(0, 1))


@pytest.mark.parametrize("keep", [True, False])
def test_spaces_are_made_once_where_there_is_memory_and_progress_ends_at_one(renderer, made, keep):
    renderer.keep = keep
    pace, events = Pace(renderer.parts(2)), []
    for source in (Drawn(3, 0, 0.0), SAMPLE):
        events += finish(renderer.render(source, pace, ""))[1]
    assert len(made) == len(renderer.tiles) * (1 if keep else 2)
    shares = [event["share"] for event in events]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert events[-1]["left"] == 0


def test_a_changed_part_decodes_its_tiles_alone_and_is_what_decoding_all_gives(renderer, made):
    base, _ = finish(renderer.render(SAMPLE, Pace(renderer.parts(1)), ""))
    mask = torch.zeros(40, 72)
    mask[2:6, 3:8] = 1
    changed = blend(renderer.latents(Drawn(9, 0, 0.8)), renderer.latents(SAMPLE), mask)
    area = renderer.touched(mask)
    assert [tile[:2] for tile in area] == [(0, 0)]
    renderer._spaces.clear()
    made.clear()
    part, _ = finish(renderer.render(changed, Pace(renderer.parts(1, area)), "", area, base.clone()))
    assert made == [(0, 0)]
    whole, _ = finish(renderer.render(changed, Pace(renderer.parts(1)), ""))
    assert torch.equal(part, whole)
    assert (part != base)[:, :40, :40].any()
    assert torch.equal(part[:, :, 128:], base[:, :, 128:])


def test_a_large_photograph_is_cut_so_that_a_job_ends_soon(tiny_model):
    assert max(tile.bottom - tile.top for tile in Renderer.of(tiny_model, torch.rand(1, 3, 300, 300)).tiles) <= 128
    assert len(Renderer.of(tiny_model, torch.rand(1, 3, 128, 128)).tiles) == 1
