"""Folders: trees that are mirrored, manifests of what is done, and batches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ncsr.space.flow_space import FlowSpace
from tests.conftest import Command, Result, scene8


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Nested photographs of two sizes, a broken one, a text, and something hidden."""
    folder = tmp_path / "tree"
    for seed, name in enumerate(("a.png", "b.png", "deep/c.png", "deep/deeper/d.jpg", "other/a.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene8(6, 8 if seed != 1 else 10, seed=seed)).save(path)
    (folder / "deep" / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("not a photograph")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "e.png").write_bytes((folder / "a.png").read_bytes())
    return folder


@pytest.fixture
def upscale(ncsr_: Command, tiny_model_folder: Path) -> Command:
    return lambda *how: ncsr_("upscale", "-m", tiny_model_folder, "--precision", "float32", *how)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _shown(folder: Path) -> list[str]:
    return [name for name in _files(folder) if ".ncsr" not in name]


def _times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in _shown(folder)}


def test_recursion_mirrors_the_tree_and_lists_what_failed(upscale: Command, tree: Path, tmp_path: Path) -> None:
    result = upscale(tree, "-o", tmp_path / "out", "-r", "-n", 1, "--seed", 0)
    result.failed(r"cannot read .*deep/broken\.png: ", code=1)
    assert _files(tmp_path / "out") == ["a.png", "b.png", "deep/c.png", "deep/deeper/d.jpg", "other/a.png"]
    assert sorted(result.paths) == sorted(tmp_path / "out" / name for name in _files(tmp_path / "out"))
    flat = upscale(tree, "-o", tmp_path / "flat", "-n", 1, "--seed", 0)
    assert (flat.code, _files(tmp_path / "flat")) == (0, ["a.png", "b.png"])


def test_results_inside_the_tree_are_not_enlarged_again(upscale: Command, tree: Path) -> None:
    (tree / "deep" / "broken.png").unlink()
    for _ in range(2):
        assert len(upscale(tree, "-o", tree / "out", "-r", "-n", 1, "--seed", 0).paths) == 5
    assert len(_files(tree / "out")) == 5


def test_batches_give_what_the_photographs_give_alone(
    upscale: Command, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    draw = FlowSpace.draw

    def noted(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        batches.append(len(space.lr))
        return draw(space, *arguments)

    monkeypatch.setattr(FlowSpace, "draw", noted)
    result = upscale(tree, "-o", tmp_path / "out", "-r", "-n", 2, "--seed", 3, "--std")
    assert sorted(batches) == [1, 4]
    assert len(result.paths) == 15
    for photo in (tree / "a.png", tree / "deep" / "c.png", tree / "other" / "a.png"):
        inside = photo.parent.relative_to(tree)
        alone = upscale(photo, "-o", tmp_path / "alone" / inside, "-n", 2, "--seed", 3, "--std").paths
        for path in alone:
            together = np.asarray(Image.open(tmp_path / "out" / inside / path.name)).astype(int)
            assert abs(together - np.asarray(Image.open(path)).astype(int)).max() <= 1


def test_one_bad_photograph_of_a_batch(
    upscale: Command, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a batch cannot do is done one by one."""
    draw = FlowSpace.draw
    bad = np.asarray(Image.open(tree / "deep" / "c.png"))[0, 0] / 255

    def spoiled(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        images = draw(space, *arguments)
        for index, lr in enumerate(space.lr):
            if np.allclose(lr[:, 0, 0].numpy(), bad, atol=1e-4):
                images[:, index] = float("nan")
        return images

    monkeypatch.setattr(FlowSpace, "draw", spoiled)
    (tree / "deep" / "broken.png").unlink()
    result = upscale(tree, "-o", tmp_path / "out", "-r", "-n", 1, "--seed", 0)
    result.failed(r"c\.png: sample 0 was not finite", code=1)
    assert _files(tmp_path / "out") == ["a.png", "b.png", "deep/deeper/d.jpg", "other/a.png"]


def test_a_batch_without_memory_is_done_one_by_one(
    upscale: Command, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = FlowSpace.draw

    def hungry(space: FlowSpace, *arguments: Any) -> torch.Tensor:
        return torch.empty(10**15) if len(space.lr) > 1 else draw(space, *arguments)

    monkeypatch.setattr(FlowSpace, "draw", hungry)
    (tree / "deep" / "broken.png").unlink()
    assert upscale(tree, "-o", tmp_path / "out", "-r", "-n", 1, "--seed", 0).code == 0
    assert len(_files(tmp_path / "out")) == 5


def test_skipping_goes_by_the_record(upscale: Command, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run(*how: object) -> Result:
        return upscale(tree, "-o", out, "-r", "--skip-existing", *how)

    (tree / "deep" / "broken.png").unlink()
    plain = ("-n", 1, "--seed", 0)
    assert len(run(*plain).paths) == 5
    before = _times(out)
    again = run(*plain)
    assert (again.code, again.out, again.err) == (0, "", "left out 5 of 5: made before with the same settings\n")
    assert _times(out) == before
    for how in (
        ("-n", 1, "--seed", 1),
        ("-n", 1, "--seed", 1, "-t", 0.5),
        ("-n", 1, "--seed", 1, "-t", 0.5, "--strip"),
        ("-n", 1, "--seed", 1, "-t", 0.5, "--precision", "bfloat16"),
        ("-n", 2, "--seed", 1),
        ("-n", 2, "--seed", 1, "--std"),
    ):
        assert len({path.parent / path.name[0] for path in run(*how).paths}) == 5, how
        assert run(*how).paths == [], how


def test_what_is_gone_or_changed_is_made_again(upscale: Command, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = (tree, "-o", out, "-r", "--skip-existing", "-n", 2)
    first = upscale(*how)
    assert first.code == 1  # the broken one
    seed = [line for line in first.err.splitlines() if line.startswith("seed")]
    before = {name: (out / name).read_bytes() for name in _shown(out)}
    (out / "a_s1.png").unlink()
    (out / "deep" / "c_s0.png").write_bytes(b"cut")
    (tree / "b.png").touch()
    os.utime(tree / "b.png", ns=(1, 1))
    (out / ".ncsr" / "nonsense.json").write_text("[")
    (out / "other" / ".ncsr" / "a.png.json").write_text("[]")
    again = upscale(*how)  # with the seed of the records
    assert seed[0] in again.err
    made = sorted({str(path.relative_to(out)) for path in again.paths if "_s0" in path.name})
    assert made == ["a_s0.png", "b_s0.png", "deep/c_s0.png", "other/a_s0.png"]
    for name, content in before.items():
        if name not in ("b_s0.png", "b_s1.png"):
            a = np.asarray(Image.open(out / name)).astype(int)
            (tmp_path / "old").write_bytes(content)
            assert abs(a - np.asarray(Image.open(tmp_path / "old")).astype(int)).max() <= 1, name


def test_a_file_of_the_same_name_is_not_a_record(upscale: Command, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    upscale(tree / "a.png", "-o", out, "-n", 1, "--seed", 0)
    assert _files(out) == ["a.png"]  # nothing is recorded unless asked for
    assert len(upscale(tree / "a.png", "-o", out, "-n", 1, "--seed", 0, "--skip-existing").paths) == 1
    upscale(tree / "a.png", "-o", out, "-n", 1, "--seed", 1)  # takes the record away
    assert len(upscale(tree / "a.png", "-o", out, "-n", 1, "--seed", 0, "--skip-existing").paths) == 1
