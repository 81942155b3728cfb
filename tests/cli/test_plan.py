"""`ncsr plan`: what is printed."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from PIL import Image

from ncsr.cli.plan import plan
from ncsr.cli.upscale import upscale
from tests.conftest import Command, scene8


def test_plan(ncsr_: Command, tiny_model_folder: Path, tmp_path: Path) -> None:
    photo, large = tmp_path / "photo.png", tmp_path / "large.png"
    Image.fromarray(scene8(6, 8)).save(photo)
    Image.fromarray(scene8(40, 48)).save(large)  # nine tiles of 16
    how = ("-m", tiny_model_folder)
    whole = ncsr_("plan", photo, *how)
    assert (whole.code, whole.err) == (0, "")
    assert "8 x 6 -> 32 x 24, 4 images" in whole.out
    assert "in one piece" in whole.out
    assert re.search(r"memory  (\d+ MiB|\d+\.\d GiB)", whole.out)  # of the whole process, which may be large here
    assert re.search(r"time    \d+\.\d s", whole.out)
    assert "scratch" not in whole.out
    tiled = ncsr_("plan", large, photo, *how, "-n", 2, "--tile", 16, "--consistent").out
    assert "9 of 16 x 16 input pixels" in tiled
    assert f"scratch {2 * 160 * 192 * 3 * 2 / 2**20:.0f} MiB" in tiled
    assert re.search(r"^all 2: \d", tiled, re.MULTILINE)
    ncsr_("plan", large, *how, "--tile", 8).failed("tile must be at least 16")
    broken = large.with_name("broken.png")
    broken.write_bytes(b"")
    some = ncsr_("plan", broken, photo, *how)
    assert some.code == 1
    assert "8 x 6 -> 32 x 24" in some.out
    assert re.fullmatch(r"ncsr: .*broken\.png.*\n", some.err)
    ncsr_("plan", "zip://x/y.png", *how).failed("zip://x/y.png is a URL: plan is for files of this machine")
    ncsr_("plan", large.with_name("none.png"), *how).failed("no such file")
    ncsr_("plan", large, *how, "-n", 0).failed("at least 1, got 0")


def test_it_takes_the_options_of_upscaling_that_cost(
    ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And knows the format and quality of what would be written, and how many images of how many pages."""
    others = {"context", "output", "seed", "sheet", "std", "std_format", "strip", "sidecar", "skip_existing"}
    others |= {"ray", "quiet", "json"}
    assert set(signature(upscale).parameters) - others == set(signature(plan).parameters)
    written: list[tuple[str, int | None]] = []
    module = import_module("ncsr.upscaling.estimate")
    write = module.write_pixels

    def note(path: Path, *rest: object, quality: int | None) -> None:
        written.append((path.suffix, quality))
        write(path, *rest, quality=quality)

    monkeypatch.setattr(module, "write_pixels", note)
    (tmp_path / "in" / "inside").mkdir(parents=True)
    first, second = (Image.fromarray(scene8(6, 8, seed=seed)) for seed in range(2))
    first.save(tmp_path / "in" / "inside" / "scan.tif", save_all=True, append_images=[second])
    how = ("-m", tiny_model_folder, "-t", 0)
    made = ncsr_("plan", tmp_path / "in", *how, "-r", "--page", "all", "--format", "webp", "--quality", 40)
    assert (made.code, made.err) == (0, "")
    assert [f"page {page}: 8 x 6 -> 32 x 24, 1 image\n" in made.out for page in (1, 2, 3)] == [True, True, False]
    assert written == [(".webp", 40)] * 2
    ncsr_("plan", tmp_path / "in", *how).failed("holds no photographs")
    scan = tmp_path / "in" / "inside" / "scan.tif"
    ncsr_("plan", scan, *how, "--quality", 40).failed(r"\.tif has no quality")
    ncsr_("plan", scan, *how, "--format", "jpg", "--consistent").failed("would change what --consistent fits")
    ncsr_("plan", scan, *how, "--page", 3).failed("it has no page 3, only 2")


def test_want_of_memory_while_a_photograph_is_read(
    ncsr_: Command, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    photo = tmp_path / "photo.png"
    Image.fromarray(scene8(6, 8)).save(photo)
    monkeypatch.setattr("ncsr.images.raster.photo_from_array", fail)
    ncsr_("plan", photo, "-m", tiny_model_folder).failed(r"photo\.png: not enough memory: \d+ MiB are free")
