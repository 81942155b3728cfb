"""`ncsr prepare`: packing, checking, and one sentence for whatever is wrong."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

import ncsr.cli
from ncsr.data.photos import open_photos
from tests.conftest import scene8
from tests.data.conftest import (
    assert_equal_crops,
    fill_folder,
    open_all,
    packed_crops,
)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_folder(tmp_path_factory.mktemp("photos"))


def _ncsr(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `ncsr prepare` in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["ncsr", "prepare", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        ncsr.cli.main()
    return end.value.code if isinstance(end.value.code, int) else 0


def test_packing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other" / "deep"
    other.mkdir(parents=True)
    Image.fromarray(scene8(40, 40)).save(other / "good.png")
    Image.fromarray(scene8(40, 20)).save(other / "narrow.png")
    (other / "broken.png").write_bytes((other / "good.png").read_bytes()[:-100])
    output = tmp_path / "new" / "photos.lmdb"
    assert _ncsr(monkeypatch, folder, other.parent, "-o", output, "--smallest", 30) == 1
    out, err = capsys.readouterr()
    assert out == f"{output}: 6 photographs, {output.stat().st_size / 1e6:.0f} MB\n"
    broken, narrow = err.splitlines()
    assert re.match(r"ncsr: cannot read .*broken.png: it is damaged", broken)
    assert narrow.endswith("narrow.png: 20 x 40 pixels, smaller than 30 x 30")
    assert_equal_crops(packed_crops(open_all(output)), packed_crops(open_photos([folder, other], 30)[0]))
    assert list(output.parent.iterdir()) == [output]


def test_tiles_that_webp_cannot_hold_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ncsr(monkeypatch, folder, "-o", tmp_path / "photos.lmdb", "--side", 20_000) == 2
    assert "16383" in capsys.readouterr().err


def test_an_output_that_exists_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "photos.lmdb"
    output.write_text("precious")
    assert _ncsr(monkeypatch, folder, "-o", output, "--smallest", 30) == 2
    assert capsys.readouterr().err == f"ncsr: {output} exists already: delete it, or choose another -o\n"
    assert output.read_text() == "precious"


def test_wrong_use(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    whole = bytearray((folder / "0.png").read_bytes())
    whole[200:240] = bytes(40)
    (broken / "a.png").write_bytes(whole)
    output = tmp_path / "photos.lmdb"
    for arguments, message in (
        ([folder], "nothing to do: give -o FILE.lmdb"),
        ([tmp_path / "missing", "-o", output], "missing is not a folder"),
        ([tmp_path / "empty", "-o", output], "empty holds no photographs"),
        ([folder, "-o", output], r"no photograph of at least 160 x 160 pixels in .* \(5 left out\)"),
        ([broken, "-o", output, "--smallest", 30], "none of 1 photographs can be read, the first: cannot read .*a.png"),
        ([folder, "-o", folder / "0.png" / "x.lmdb", "--smallest", 30], "cannot make the folder"),
    ):
        assert _ncsr(monkeypatch, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert re.search(f"^ncsr: .*{message}", err), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "empty"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_full_disk_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    output = tmp_path / "new" / "photos.lmdb"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        code = _ncsr(monkeypatch, folder, "-o", output, "--smallest", 30, "--side", 16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"ncsr: cannot write {output} (")
    assert err.endswith("): make room if the disk is full, or choose another -o\n")
    assert err.count("\n") == 1
    assert list(output.parent.iterdir()) == []


def test_checking_a_known_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, output = tmp_path / "DIV2K_valid_HR", tmp_path / "photos.lmdb"
    photos.mkdir()
    Image.fromarray(scene8(8, 12)).save(photos / "0801.png")
    for i in range(802, 901):
        os.link(photos / "0801.png", photos / f"{i:04}.png")
    check = [photos, "--check", "div2k-valid", "--smallest", 8]
    assert _ncsr(monkeypatch, *check) == 0
    assert capsys.readouterr() == ("div2k-valid is complete: 100 photographs\n", "")
    assert _ncsr(monkeypatch, *check, "-o", output) == 0
    assert output.exists()
    output.unlink()
    capsys.readouterr()

    (photos / "0803.png").unlink()
    (photos / "0900.png").rename(photos / "900.png")
    (photos / "0850.png").unlink()
    Image.fromarray(scene8(8, 7)).save(photos / "0850.png")
    whole = bytearray((photos / "0801.png").read_bytes())
    (photos / "0870.png").unlink()
    (photos / "0870.png").write_bytes(whole[:50] + bytes(30) + whole[80:])
    assert _ncsr(monkeypatch, *check) == 1
    out, err = capsys.readouterr()
    assert out == ""
    for line, message in zip(
        err.splitlines(),
        [
            "div2k-valid has 100 photographs, found 99",
            "2 missing: 0803.png, 0900.png",
            "1 surplus: 900.png",
            "0850.png: 7 x 8 pixels, smaller than 8 x 8",
            "cannot read .*0870.png: it is damaged",
        ],
        strict=True,
    ):
        assert re.search(f"^ncsr: .*{message}", line), err
    assert _ncsr(monkeypatch, *check, "-o", output) == 2
    assert not output.exists()
