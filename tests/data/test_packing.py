"""Packing that is stopped leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from ncsr.data.listing import list_photos
from ncsr.data.packing import pack_photos
from tests.conftest import scene8


def test_packing_that_is_interrupted_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_photos(list_photos(folder)[0], tmp_path / "photos.lmdb", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_packing_that_is_killed_leaves_no_packed_file(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "photos.lmdb"
    photos.mkdir()
    Image.fromarray(scene8(160, 160)).save(photos / "0.png")
    for i in range(1, 300):
        os.link(photos / "0.png", photos / f"{i}.png")
    command = [sys.executable, "-m", "ncsr", "prepare", photos, "-o", output, "--side", "2"]
    process = subprocess.Popen(command)
    try:
        while not list(tmp_path.glob(".*.lmdb")):
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
    finally:
        process.kill()
    assert process.wait(60) != 0
    assert not output.exists()
