"""Reports may be sent to others: no folders of the machine stand in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ncsr.cli.portable import portable_by
from tests.cli.reports import contents, read, rows, save
from tests.conftest import Command


@pytest.mark.skipif(os.sep != "/", reason="these are paths of POSIX systems")
@pytest.mark.parametrize(
    ("arguments", "text", "shown"),
    [
        (["--hr", "/srv/me/hr"], "cannot read /srv/me/hr/a b.png: damaged", "cannot read hr/a b.png: damaged"),
        (["--hr=/srv/me/hr", "-o/var/me/out"], "--hr=/srv/me/hr -o/var/me/out", "--hr=hr -oout"),
        (["NCSR=/srv/me/run/model:encoder"], "NCSR=/srv/me/run/model:encoder", "NCSR=model:encoder"),
        (["/m/a/sr", "/m/b/sr"], "/m/a/sr and /m/b/sr", "a/sr and b/sr"),
        (["/m/a/sr", "sr"], "/m/a/sr and sr", "a/sr and sr"),
        (["a/sr", "../b"], "a/sr and ../b of /etc/x", "a/sr and ../b of /etc/x"),
        (["/sr", "/"], "/sr and /", "/sr and /"),
    ],
)
def test_what_is_kept(arguments: list[str], text: str, shown: str) -> None:
    assert portable_by(arguments)(text) == shown


@pytest.mark.usefixtures("quick_measures")
@pytest.mark.parametrize("absolute", [True, False])
def test_reports(
    ncsr_: Command, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path, tmp_path: Path, absolute: bool
) -> None:
    pytest.importorskip("torchmetrics")
    for i in (1, 2):
        save(tmp_path / f"home & me/hr/080{i}.png", 64, 64, i)
        save(tmp_path / f"home & me/a/sr/080{i}.png", 64, 64, i)
        save(tmp_path / f"home & me/b/sr/080{i}.png", 64 if i == 1 else 60, 64, i)
    save(tmp_path / "home & me/a/sr/other.png", 8, 8)
    monkeypatch.chdir(tmp_path / "home & me")
    here = Path.cwd() if absolute else Path()
    folders = ["--sr", here / "a/sr", "--sr", here / "b/sr"]
    result = ncsr_("measure", "--hr", here / "hr", *folders, "-s", 4, "-o", here / "measured")
    assert result.code == 1
    assert str(here / "a/sr/other.png") in result.err  # the terminal is the user's own
    assert list(rows(Path("measured"))) == ["bicubic", "a/sr", "b/sr"]
    assert read(Path("measured"))["command"] == "ncsr measure --hr hr --sr a/sr --sr b/sr -s 4 -o measured"
    Path("run").mkdir()
    Path("run/model").symlink_to(tiny_model_folder)
    role = f"NCSR={here / 'run/model'}"
    how = ["-n", 2, "--limit", 1, "-o", here / "paper"]
    assert ncsr_("reproduce", "table1", "--data", here / "hr", "-m", role, *how).code == 0
    for folder in ("measured", "paper"):
        for name, content in contents(Path(folder)).items():
            assert str(tmp_path).encode() not in content, name
            assert b"home &" not in content, name
