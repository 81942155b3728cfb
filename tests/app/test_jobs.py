"""Jobs without a browser: what is told when, and that nothing outlives a visit."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path

import pytest
from PIL import Image

from ncsr.app import jobs
from ncsr.app.jobs import Studio
from ncsr.app.photographs import choose_photograph
from ncsr.app.visits import Visit, Visits
from ncsr.errors import InputError
from ncsr.images import SUFFIXES
from tests.conftest import scene8


@pytest.fixture
def studio(tiny_model_folder) -> Studio:
    return Studio([str(tiny_model_folder)], "cpu")


@pytest.fixture
def visits(studio, tmp_path) -> Visits:
    return Visits(tmp_path, studio.forget)


def arrive(visits: Visits, tmp_path: Path) -> Visit:
    """A visitor with a photograph of 24 x 20 pixels."""
    visit, path = visits.open(), tmp_path / "photo.png"
    Image.fromarray(scene8(20, 24)).save(path)
    choose_photograph(visit, path, path.name, 1000)
    return visit


def samples(studio: Studio, visit: Visit):
    return studio.samples(visit, next(iter(studio.models)), 2, 0.8, 1, [])


def test_a_picture_is_there_before_a_model_is_opened(studio, visits, tmp_path, monkeypatch):
    opened, load = [], jobs.load
    monkeypatch.setattr(jobs, "load", lambda *a: (opened.append(a), load(*a))[1])
    job = samples(studio, arrive(visits, tmp_path))
    assert next(job)["event"] == "began"
    assert next(job)["picture"]["label"] == "Bicubic"
    assert opened == []
    told = [event["event"] for event in job]
    assert told.count("picture") == 3
    assert len(opened) == 1


def test_nothing_of_a_photograph_is_kept_of_who_left(studio, visits, tmp_path):
    visit = arrive(visits, tmp_path)
    list(samples(studio, visit))
    photograph, folder = weakref.ref(visit.photograph.lr), visit.folder
    assert list(folder.iterdir())
    visits.leave(visit.id)
    with pytest.raises(InputError, match="no photograph"):
        studio.canvas(visit)
    del visit
    gc.collect()
    assert photograph() is None
    assert not folder.exists()


def test_a_visitor_may_choose_every_kind_that_is_read():
    """By the dialog of the browser, and by what is dropped."""
    static = Path(jobs.__file__).parent / "static"
    offered = re.findall(r'type="file" id="\w+" accept="([^"]+)"', (static / "page.html").read_text())
    assert [set(kinds.split(",")) for kinds in offered] == [SUFFIXES] * 2
    (pattern,) = re.findall(r"if \(!/(.+)/i\.test\(file\.name\)\)", (static / "page.js").read_text())
    assert [suffix for suffix in [*SUFFIXES, ".PNG"] if not re.search(pattern, f"a{suffix}", re.IGNORECASE)] == []
    assert not re.search(pattern, "a.pdf")
