"""Files that belong together, by their names; what is wrong with them is named."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ncsr.errors import InputError
from ncsr.evaluation.pairs import PhotographFiles, check_pattern, find_pairs, match_samples, read_pair, read_sample
from tests.conftest import scene8


def save(path: Path, height: int = 64, width: int = 64, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene8(height, width, seed=seed)).save(path)
    return path


def test_pairs_by_name(tmp_path: Path) -> None:
    for name in ("0801", "0802", "0803"):
        save(tmp_path / "hr" / f"{name}.png")
    save(tmp_path / "lr/0801x4.png", 16, 16)
    save(tmp_path / "lr/0803.bmp", 16, 16)
    pairs, problems = find_pairs(tmp_path / "hr", tmp_path / "lr", 4)
    assert [(p.index, p.name, p.lr and p.lr.name) for p in pairs] == [
        (0, "0801.png", "0801x4.png"),
        (2, "0803.png", "0803.bmp"),
    ]
    assert len(problems) == 1
    assert "0802.png has no LR image" in problems[0]


@pytest.mark.parametrize("names", ["{i:06d}_sample{k:05d}", "{stem}_s{k}", "{stem}x4_s{k}"])
def test_samples_by_name(tmp_path: Path, names: str) -> None:
    for i, stem in enumerate(("0801", "0802")):
        save(tmp_path / "hr" / f"{stem}.png")
        for k in range(11):
            save(tmp_path / "sr" / (names.format(i=i, k=k, stem=stem) + ".png"), 8, 8)
    pairs, _ = find_pairs(tmp_path / "hr", None, 4)
    matched, problems = match_samples(pairs, [tmp_path / "sr"], 4)
    assert problems == []
    assert [p.name for p in matched] == ["0801.png", "0802.png"]
    for i, (files, stem) in enumerate(zip(matched, ("0801", "0802"), strict=True)):
        assert [p.stem for p in files.samples[0]] == [names.format(i=i, k=k, stem=stem) for k in range(11)]


def test_samples_of_other_photographs_are_left_alone(tmp_path: Path) -> None:
    """Those of photographs that are not asked for; what belongs to none is told still."""
    for stem in ("0801", "0802", "0803"):
        save(tmp_path / "hr" / f"{stem}.png")
        save(tmp_path / "sr" / f"{stem}_s0.png", 8, 8)
    save(tmp_path / "sr" / "0803_s1.png", 8, 8)
    first, *others = find_pairs(tmp_path / "hr", None, 4)[0]
    matched, problems = match_samples([first], [tmp_path / "sr"], 4, others=others)
    assert ([p.name for p in matched], problems) == (["0801.png"], [])
    save(tmp_path / "sr" / "0804.png", 8, 8)
    _, problems = match_samples([first], [tmp_path / "sr"], 4, others=others)
    assert len(problems) == 1
    assert "0804.png belongs to no photograph" in problems[0]


def test_a_photograph_whose_name_looks_like_a_sample(tmp_path: Path) -> None:
    for stem in ("a", "a_s0"):
        save(tmp_path / "hr" / f"{stem}.png")
        save(tmp_path / "sr" / f"{stem}_s0.png", 8, 8)
    matched, problems = match_samples(find_pairs(tmp_path / "hr", None, 4)[0], [tmp_path / "sr"], 4)
    assert problems == []
    found = {files.hr.stem: [path.name for path in files.samples[0]] for files in matched}
    assert found == {"a": ["a_s0.png"], "a_s0": ["a_s0_s0.png"]}


@pytest.mark.parametrize("pattern", ["{stem}_out", "x{scale}_{stem}", "{stem}"])
def test_other_tools_names(tmp_path: Path, pattern: str) -> None:
    for stem in ("0801", "0802"):
        save(tmp_path / "hr" / f"{stem}.png")
        save(tmp_path / "one" / f"{pattern.format(stem=stem, scale=4)}.png", 8, 8)
        for k in range(2):
            save(tmp_path / "two" / f"{pattern.format(stem=stem, scale=4)}_s{k}.jpg", 8, 8)
    save(tmp_path / "one/0801x4.png", 8, 8)  # a name that counts without a pattern only
    pairs, _ = find_pairs(tmp_path / "hr", None, 4)
    matched, problems = match_samples(pairs, [tmp_path / "one", tmp_path / "two"], 4, pattern)
    assert [[len(group) for group in files.samples] for files in matched] == [[1, 2], [1, 2]]
    names = [pattern.format(stem=stem, scale=4) for stem in ("0801", "0802")]
    assert [files.samples[0][0].stem for files in matched] == names
    assert len(problems) == 1
    assert "0801x4.png belongs to no photograph" in problems[0]


@pytest.mark.parametrize("pattern", ["out", "{stem}{stem}", "{stem}{sample}", "{stem}_{", "a/{stem}", "{stem}.png"])
def test_wrong_patterns(pattern: str) -> None:
    with pytest.raises(InputError, match=r"a pattern of file names .*, got '"):
        check_pattern(pattern)


@pytest.mark.parametrize("name", ["{stem}{suffix}", "{stem}_s0{suffix}", "{stem}x4_s0{suffix}"])
def test_names_that_differ_in_their_suffixes_alone(tmp_path: Path, name: str) -> None:
    for suffix in (".jpg", ".png"):
        save(tmp_path / "hr" / f"0801{suffix}")
        save(tmp_path / "lr" / f"0801x4{suffix}", 16, 16)
        save(tmp_path / "sr" / name.format(stem="0801", suffix=suffix))
    pairs, problems = find_pairs(tmp_path / "hr", tmp_path / "lr", 4)
    assert [files.lr and files.lr.name for files in pairs] == ["0801x4.jpg", "0801x4.png"]
    matched, more = match_samples(pairs, [tmp_path / "sr"], 4)
    assert [files.samples[0][0].suffix for files in matched] == [".jpg", ".png"]
    assert problems == more == []


def test_missing_and_misnamed_samples_are_named(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        save(tmp_path / "hr" / f"{stem}.png")
    for name in ("a_s0", "a_s1", "b_s1", "other", "000009_sample00000"):
        save(tmp_path / "sr" / f"{name}.png", 8, 8)
    matched, problems = match_samples(find_pairs(tmp_path / "hr", None, 4)[0], [tmp_path / "sr"], 4)
    assert [p.name for p in matched] == ["a.png"]
    text = "\n".join(problems)
    assert len(problems) == 4
    for words in ("other.png belongs to no photograph", "000009_sample00000.png belongs to no photograph"):
        assert words in text
    assert "lacks sample 0 of b.png" in text
    assert "has no image of c.png: expected 000002_sample00000.png or c_s0.png" in text


def test_sizes_and_kernel_of_given_lr_images(tmp_path: Path) -> None:
    hr, made = save(tmp_path / "hr.png", 67, 65), tmp_path / "lr.png"
    pair = read_pair(PhotographFiles(0, hr), 4)
    assert (tuple(pair.hr.shape), tuple(pair.lr.shape), pair.agreement) == ((3, 64, 64), (3, 16, 16), None)
    Image.fromarray(pair.lr.permute(1, 2, 0).numpy()).save(made)
    assert read_pair(PhotographFiles(0, hr, made), 4).agreement == math.inf
    Image.open(hr).crop((0, 0, 64, 64)).resize((16, 16), Image.Resampling.NEAREST).save(made)
    assert read_pair(PhotographFiles(0, hr, made), 4).agreement < 45  # type: ignore[operator]
    save(made, 17, 16)
    with pytest.raises(InputError, match=r"lr.png is 16 x 17 pixels: the LR image of hr.png at scale 4, is 16 x 16"):
        read_pair(PhotographFiles(0, hr, made), 4)
    with pytest.raises(InputError, match=r"hr.png is 65 x 67 pixels: hr.png, cropped .*, is 64 x 64"):
        read_sample(hr, pair)


def test_an_image_of_another_size_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = PhotographFiles(0, save(tmp_path / "hr/a.png"), samples=((save(tmp_path / "sr/a.png", 64, 80),),))
    pair = read_pair(files, 4)
    monkeypatch.setattr("ncsr.evaluation.pairs.read_eight_bit", None)
    with pytest.raises(InputError, match=r"80 x 64 pixels.*is 64 x 64"):
        read_sample(files.samples[0][0], pair)


def test_hidden_colours_are_not_measured(tmp_path: Path) -> None:
    pixels = np.dstack([scene8(64, 64), np.full((64, 64), 255, np.uint8)])
    pixels[16:48, 16:48, 3] = 0
    hidden = pixels.copy()
    hidden[16:48, 16:48, :3] = 255 - hidden[16:48, 16:48, :3]
    for name, image in (("hr", pixels), ("sr", hidden)):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "a.png")
    pair = read_pair(PhotographFiles(0, tmp_path / "hr/a.png"), 4)
    assert torch.equal(read_sample(tmp_path / "sr/a.png", pair), pair.hr)


def test_an_lr_image_is_not_given_to_a_photograph_of_another_suffix(tmp_path: Path) -> None:
    for name in ("hr/x.png", "hr/x.jpg", "lr/x.png"):
        save(tmp_path / name, 16, 16)
    pairs, problems = find_pairs(tmp_path / "hr", tmp_path / "lr", 4)
    assert [(pair.hr.name, pair.lr.name) for pair in pairs if pair.lr] == [("x.png", "x.png")]
    assert len(problems) == 1
    assert problems[0].startswith("x.jpg has no LR image in ")
    save(tmp_path / "lr/xx4.jpg", 16, 16)
    pairs, problems = find_pairs(tmp_path / "hr", tmp_path / "lr", 4)
    assert {pair.hr.name: pair.lr.name for pair in pairs if pair.lr} == {"x.png": "x.png", "x.jpg": "xx4.jpg"}
    assert problems == []


def test_what_upscale_makes_besides_samples_is_passed_over(tmp_path: Path) -> None:
    for name in ("hr/a.png", "sr/a_s0.png", "sr/a_s1.png", "sr/a_std.png", "sr/a_sheet.png", "sr/b_std.png"):
        save(tmp_path / name, 16, 16)
    pairs, _ = find_pairs(tmp_path / "hr", None, 4)
    found, problems = match_samples(pairs, [tmp_path / "sr"], 4)
    assert [[path.name for path in group] for group in found[0].samples] == [["a_s0.png", "a_s1.png"]]
    assert problems == [
        f"{tmp_path / 'sr' / 'b_std.png'} belongs to no photograph: neither a_s0 nor NTIRE's 000000_sample00000"
    ]


def test_an_lr_image_of_a_photograph_beyond_the_limit_is_not_given_to_another(tmp_path: Path) -> None:
    for name in ("hr/x.jpg", "hr/x.png", "lr/x.png"):
        save(tmp_path / name, 16, 16)
    pairs, problems = find_pairs(tmp_path / "hr", tmp_path / "lr", 4, limit=1)
    assert pairs == []
    assert problems[0].startswith("x.jpg has no LR image in ")


def test_images_of_no_photograph_are_told_where_there_is_none(tmp_path: Path) -> None:
    """As where no photograph has its LR image."""
    save(tmp_path / "sr" / "a_s0.png", 16, 16)
    found, problems = match_samples([], [tmp_path / "sr"], 4)
    assert found == []
    assert problems == [f"{tmp_path / 'sr' / 'a_s0.png'} belongs to no photograph"]
