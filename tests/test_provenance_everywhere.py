"""Every picture that is written or given says where it comes from; of reproductions and validations: see there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ncsr
from ncsr.images.origin import Provenance
from tests.cli.reports import origins_in, save
from tests.conftest import Command

SYNTHETIC = "synthetic detail: not for identification"


def is_marked(path: Path) -> bool:
    """Whether other programs see that a trained model made a part of it."""
    return b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes()


def test_of_an_evaluation(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, quick_measures: None) -> None:
    pytest.importorskip("torchmetrics")  # which `make core` does without
    save(tmp_path / "hr" / "a.png", 64, 72)
    command = ["evaluate", tiny_model_folder, "--hr", tmp_path / "hr", "-o", tmp_path / "out", "--calibration"]
    assert ncsr_(*command, "-n", 2, "-t", 0.5, "-t", 0.9).code == 0
    told = origins_in(tmp_path / "out")
    for name in ("sweep.png", "calibration.png"):
        plot = told.pop(name)
        assert (plot.picture, plot.notice, plot.model, plot.temperature) == ("plot", None, "tiny", [0.0, 0.5, 0.9])
        assert (len(str(plot.model_hash)), plot.scale) == (16, 4)
    kinds = {(origin.picture, origin.notice) for origin in told.values()}
    made = ("part of a report", SYNTHETIC)
    assert kinds == {made, ("photograph", None), ("bicubic enlargement", None), ("plot", None)}
    for path in (tmp_path / "out").glob("embedded*.jpeg"):
        assert is_marked(path) == (told[path.name].notice == SYNTHETIC)


def test_of_a_walk_and_of_what_a_visitor_downloads(tiny_model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from ncsr.app import downloads
    from ncsr.app.jobs import Studio
    from ncsr.app.photographs import choose_photograph
    from ncsr.app.visits import Visits

    studio = Studio([str(tiny_model_folder)], "cpu")
    visit = Visits(tmp_path, studio.forget).open()
    choose_photograph(visit, save(tmp_path / "photo.png", 20, 24), "photo.png", 1000)
    visit.reference = torch.rand(1, 3, 80, 96)
    list(studio.samples(visit, str(tiny_model_folder), 2, 0.8, 7, []))
    first, last = [*visit.pictures][-2:]
    list(studio.walk(visit, first, last, 3))
    list(studio.encode(visit, remember=False))
    (visit.folder / "sheet.png").write_bytes(downloads.sheet(visit))
    told = origins_in(visit.folder)
    assert {origin.model for origin in told.values()} == {"tiny", None}
    kinds = [origin.picture for origin in told.values() if origin.notice == SYNTHETIC]
    assert sorted(kinds) == sorted(
        ["most probable image", "sample", "sample", *["walk"] * 4, "likelihood map", "contact sheet"]
    )
    assert sorted(o.picture for o in told.values() if o.notice is None) == ["bicubic enlargement", *["photograph"] * 2]
    sheet = told["sheet.png"]
    assert (sheet.seed, sheet.samples, sheet.temperature) == (7, [0, 1], [0.0, 0.8])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_of_images_in_python(tiny_model: ncsr.NCSR, tmp_path: Path, suffix: str) -> None:
    """Pillow's own `save` writes it, and so does what a notebook shows."""
    photo = save(tmp_path / "photo.png", 12, 16)
    (sample,) = ncsr.upscale(photo, tiny_model, 1, seed=3)
    unsure = ncsr.uncertainty(photo, tiny_model, 2, seed=3)
    space = tiny_model.space(torch.rand(1, 3, 8, 8))
    for name, image, picture, seed in [
        ("sample", sample, "sample", 3),
        ("map", unsure.picture(), "standard deviation", 3),
        ("of-space", space.uncertainty(2, seed=4).picture(), "standard deviation", 4),
        ("grid", ncsr.grid(space.sample(2)), "grid", None),
    ]:
        path = tmp_path / f"{name}.{suffix}"
        image.save(path)
        origin = ncsr.provenance(path)
        assert origin is not None
        assert (origin.picture, origin.seed, origin.notice) == (picture, seed, SYNTHETIC)
        assert is_marked(path)
        assert ncsr.provenance(path) == Provenance.model_validate_json(image.info["ncsr"])
        np.testing.assert_array_equal(np.asarray(image.crop((0, 0, 4, 4))), np.asarray(image)[:4, :4])
    assert unsure.origin.model_hash is not None
    assert unsure.origin.photograph is not None


@pytest.mark.parametrize("shown", [lambda image: image, lambda image: ncsr.grid(torch.rand(2, 3, 4, 4))])
def test_of_what_a_notebook_shows(tiny_model: ncsr.NCSR, tmp_path: Path, shown: Any) -> None:
    image = shown(tiny_model.space(torch.rand(1, 3, 8, 8)).uncertainty(2))
    (tmp_path / "shown.png").write_bytes(image._repr_png_())
    assert list(origins_in(tmp_path)) == ["shown.png"]
    assert Image.open(io.BytesIO(image._repr_png_())).format == "PNG"
