"""Jobs without a browser: what is told when, and that nothing outlives a visit."""

from __future__ import annotations

import gc
import io
import json
import re
import shutil
import weakref
import zipfile
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from ncsr.app import downloads, jobs
from ncsr.app.jobs import Studio
from ncsr.app.maps import disagreement
from ncsr.app.photographs import choose_photograph
from ncsr.app.server import _guarded, make_server
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


def test_the_first_sample_comes_first_and_stands_after_temperature_0(studio, visits, tmp_path):
    visit = arrive(visits, tmp_path)
    pictures = [event["picture"] for event in samples(studio, visit) if event["event"] == "picture"]
    assert [picture["label"] for picture in pictures] == ["Bicubic", "Sample 1", "Temperature 0", "Sample 2"]
    shown = ["Bicubic", "Temperature 0", "Sample 1", "Sample 2"]
    assert [picture.label for picture in visit.shown()] == shown
    assert [p["label"] for p in sorted(pictures, key=lambda told: int(told["name"][1:]))] == shown
    with zipfile.ZipFile(io.BytesIO(downloads.archive(visit))) as archive:
        assert [name.rpartition("-")[0] for name in archive.namelist()[:4]] == [
            "photo-bicubic",
            "photo-temperature-0",
            "photo-sample-1",
            "photo-sample-2",
        ]


def test_nothing_of_a_photograph_is_kept_of_who_left(studio, visits, tmp_path):
    visit = arrive(visits, tmp_path)
    list(samples(studio, visit))
    photograph, folder = weakref.ref(visit.photograph.lr), visit.folder
    assert list(folder.iterdir())
    visits.leave(visit.id)
    with pytest.raises(InputError, match="no photograph"):
        studio.renderer(visit)
    del visit
    gc.collect()
    assert photograph() is None
    assert not folder.exists()


@pytest.mark.parametrize("path", ["overlays/likelihood?picture=p1", "files/p1.png", "download/a?picture=p1"])
def test_a_visitor_who_leaves_during_a_request(studio, visits, tmp_path, path):
    """Their folder goes at any moment: the request is answered, and the server logs no traceback."""
    visit = arrive(visits, tmp_path)
    list(samples(studio, visit))
    client = TestClient(make_server(studio, visits, "127.0.0.1", 256, 10**6), base_url="http://127.0.0.1")
    shutil.rmtree(visit.folder)
    answer = client.get(f"/visits/{visit.id}/{path}")
    assert (answer.status_code, answer.json()["error"][:20]) == (404, "this picture is gone")


def test_a_visitor_who_leaves_during_a_walk(studio, visits, tmp_path):
    visit = arrive(visits, tmp_path)
    list(samples(studio, visit))
    job = _guarded(studio.walk(visit, "p2", "p3", 3), visit)
    assert next(job)["event"] == "progress"
    visits.leave(visit.id)
    assert list(job) == []
    visit = arrive(visits, tmp_path)
    list(samples(studio, visit))
    job = studio.walk(visit, "p2", "p3", 3)
    next(job)
    shutil.rmtree(visit.folder)
    with pytest.raises(FileNotFoundError):  # what is no visitor's leaving stays an error
        list(_guarded(job, visit))


def test_a_visitor_may_choose_every_kind_that_is_read():
    """By the dialog of the browser, and by what is dropped."""
    static = Path(jobs.__file__).parent / "static"
    offered = re.findall(r'type="file" id="\w+" accept="([^"]+)"', (static / "page.html").read_text())
    assert [set(kinds.split(",")) for kinds in offered] == [SUFFIXES] * 2
    (pattern,) = re.findall(r"if \(!/(.+)/i\.test\(file\.name\)\)", (static / "page.js").read_text())
    assert [suffix for suffix in [*SUFFIXES, ".PNG"] if not re.search(pattern, f"a{suffix}", re.IGNORECASE)] == []
    assert not re.search(pattern, "a.pdf")


@pytest.mark.parametrize("download", [downloads.archive, downloads.sheet])
def test_downloads_while_a_job_adds_pictures(studio, visits, tmp_path, monkeypatch, download):
    visit = arrive(visits, tmp_path)
    list(samples(studio, visit))

    def meanwhile(*how):
        name = visit.new_name("p")
        visit.pictures[name] = visit.pictures["p2"]
        return decibels(*how)

    decibels = downloads.decibels
    monkeypatch.setattr(downloads, "decibels", meanwhile)
    assert download(visit)
    assert len(visit.pictures) == 8  # four of the job, and one more with each of these


def test_what_is_exact_is_json(studio, visits, tmp_path):
    """White is enlarged to white: no number of decibels."""
    visit, path = visits.open(), tmp_path / "white.png"
    Image.new("RGB", (8, 8), "white").save(path)
    choose_photograph(visit, path, path.name, 1000)
    events = list(samples(studio, visit))
    assert events[1]["picture"]["lrPsnr"] is None

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    with zipfile.ZipFile(io.BytesIO(downloads.archive(visit))) as archive:
        told = json.loads(archive.read("pictures.json"), parse_constant=refuse)
    assert next(iter(told.values()))["lr_psnr"] is None


def test_only_scales_of_the_models_make_a_reference(studio, visits, tmp_path):
    """The limit of pixels grows with the scale: a visitor does not choose it."""
    client = TestClient(make_server(studio, visits, "127.0.0.1", 256, 10**6), base_url="http://127.0.0.1")
    image = io.BytesIO()
    Image.fromarray(scene8(64, 64)).save(image, "PNG")
    for scale, code, words in (
        (4, 200, '"width":16'),
        (5, 400, "no model here enlarges by 5"),
        (16, 400, "no model here enlarges by 16"),
        (0, 400, "too many pixels"),
    ):
        path = f"/visits/{client.post('/visits').json()['id']}/photograph?title=a.png&scale={scale}"
        answer = client.post(path, content=image.getvalue())
        assert (answer.status_code, words in answer.text) == (code, True), answer.text


def test_disagreement_is_the_share_of_samples_away_from_the_median_in_any_colour():
    values = torch.tensor([100, 101, 102, 110, 111])
    samples = values[:, None, None, None].expand(-1, 3, 2, 2).to(torch.uint8)
    assert disagreement(samples).flatten().tolist() == pytest.approx([0.2] * 4)  # 111 is 9 from 102
    assert not disagreement(samples[:3]).any()
    samples = samples.clone()
    samples[0, 2] = 90
    assert disagreement(samples).flatten().tolist() == pytest.approx([0.4] * 4)
