"""Packed photographs and `ncsr prepare`: the same crops as from the folder, and one sentence for whatever is wrong."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncsr.cli import main
from ncsr.data.crops import random_crop, random_stream
from ncsr.data.known_sets import KnownSet, deviations
from ncsr.data.listing import list_photos
from ncsr.data.loader import batches
from ncsr.data.pack import INDEX, tile_key
from ncsr.data.packing import pack_photos
from ncsr.data.photos import Photos, open_photos
from ncsr.errors import InputError
from tests.conftest import scene8

_SIZES = [(40, 56), (33, 47), (32, 32), (70, 31)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of sizes that are and are not multiples of the tiles of 16, the last one noise and gray."""
    folder = tmp_path_factory.mktemp("photos")
    for i, (height, width) in enumerate(_SIZES):
        Image.fromarray(scene8(height, width, seed=i)).save(folder / f"{i}.png")
    noise = np.random.default_rng(0).integers(0, 256, (35, 35), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    return folder


@pytest.fixture(scope="module")
def pack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed."""
    path = tmp_path_factory.mktemp("pack") / "photos.lmdb"
    assert pack_photos(list_photos(folder)[0], path, side=16) == []
    return path


def _open(path: Path, **options: object) -> Photos:
    photos, left_out = open_photos([path], 30, **options)  # type: ignore[arg-type]
    assert left_out == []
    return photos


def _crops(photos: Photos, count: int = 40) -> list[Tensor]:
    return [random_crop(photos, 25, random_stream(0, step, 0)) for step in range(count)]


def _assert_same(one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# packed photographs


def test_packed_photographs_are_the_folders(folder: Path, pack: Path) -> None:
    plain, packed = _open(folder), _open(pack)
    assert len(plain) == len(packed) == len(_SIZES) + 1
    for index in range(len(plain)):
        assert tuple(plain[index].shape) == packed[index].shape
        assert packed[index][:, :, :].dtype == torch.uint8
        assert torch.equal(plain[index][:, :, :], packed[index][:, :, :])
        for top, left, side in ((0, 0, 1), (15, 15, 2), (16, 16, 14), (3, 1, 30), (0, 0, 17)):
            window = (slice(None), slice(top, top + side), slice(left, left + side))
            assert torch.equal(plain[index][window], packed[index][window])


def test_packed_photographs_give_the_folders_batches(folder: Path, pack: Path) -> None:
    def first(photos: Photos, workers: int) -> list[Tensor]:
        options = {"size": 28, "scale": 4, "count": 6, "seed": 0, "start": 0, "stop": 10}
        return [batch.hr for batch in batches(photos, workers=workers, **options)]  # type: ignore[arg-type]

    _assert_same(first(_open(folder), 0), first(_open(pack), 0))
    _assert_same(first(_open(folder), 0), first(_open(pack), 2))


def test_packed_photographs_that_are_too_small_are_named(folder: Path, pack: Path) -> None:
    photos, left_out = open_photos([pack, folder], 33)
    assert len(photos) == 2 * 3
    assert left_out[0] == f"2.png in {pack}: 32 x 32 pixels, smaller than the crop of 33"
    assert len(left_out) == 4


def test_a_pack_takes_no_lock_leaks_nothing_and_opens_twice(folder: Path, pack: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0

    before = open_files()
    one, other = _open(pack), _open(pack)
    twice, _ = open_photos([pack, pack], 30)
    assert len(twice) == 2 * len(one)
    expected = _crops(one)
    del one, twice
    _assert_same(_crops(other), expected)
    del other
    assert open_files() == before
    assert list(pack.parent.iterdir()) == [pack]


@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_pack_in_other_processes(pack: Path, method: str) -> None:
    photos = _open(pack)
    expected = _crops(photos)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as processes:
        for crops in processes.map(_crops_as_arrays, [photos, photos]):
            np.testing.assert_array_equal(crops, torch.stack(expected))
    _assert_same(_crops(photos), expected)


def _crops_as_arrays(photos: Photos) -> np.ndarray:
    return torch.stack(_crops(photos)).numpy()


def test_photographs_that_are_sent_leave_their_memory_behind(folder: Path) -> None:
    photos = _open(folder)
    expected = _crops(photos)
    sent = pickle.dumps(photos)
    assert len(sent) < 2000
    _assert_same(_crops(pickle.loads(sent)), expected)


def test_a_damaged_tile_ends_no_run(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos.lmdb"
    pack_photos(list_photos(folder)[0], path, side=16)
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as writing:
        writing.put(tile_key(1, 1, 1), b"no tile")
        writing.delete(tile_key(2, 1, 1))
    told: list[str] = []
    crops = _crops(_open(path, report=told.append))
    assert sorted(told) == [f"{i}.png in {path} is damaged: pack the photographs again" for i in (1, 2)]
    same = sum(torch.equal(a, b) for a, b in zip(crops, _crops(_open(folder)), strict=True))
    assert 0.4 * len(crops) < same < len(crops)


@pytest.mark.parametrize("size", [0, 100, 4096, 3 * 4096, -1])
def test_a_truncated_pack(pack: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "photos.lmdb"
    path.write_bytes(pack.read_bytes()[:size])
    with pytest.raises(InputError, match=r"photos\.lmdb is (truncated|no file that ncsr prepare packed)"):
        _open(path)


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (None, "no file that ncsr prepare packed"),
        (b"[]", "no file that ncsr prepare packed"),
        (b"\xff", "no file that ncsr prepare packed"),
        (b'{"format": 2}', r"another version of ncsr \(format 2, this one reads 1\)"),
    ],
)
def test_a_pack_of_something_else(tmp_path: Path, index: bytes | None, sentence: str) -> None:
    path = tmp_path / "other.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as writing:
        writing.put(b"key" if index is None else INDEX, index or b"value")
    with pytest.raises(InputError, match=sentence):
        _open(path)


def test_no_pack_at_all(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.png is no file that ncsr prepare packed: give such a file, or a folder"):
        _open(folder / "0.png")
    with pytest.raises(InputError, match="is not a folder"):
        _open(tmp_path / "missing.lmdb")


def test_without_the_lmdb_package(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match=r"need the lmdb package: pip install 'ncsr\[train\]'"):
        _open(pack)
    with pytest.raises(InputError, match="need the lmdb package"):
        pack_photos([], pack.with_name("other.lmdb"))


# the command


def _ncsr(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `ncsr prepare` in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["ncsr", "prepare", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
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
    assert narrow.endswith("narrow.png: 20 x 40 pixels, smaller than the crop of 30")
    _assert_same(_crops(_open(output)), _crops(open_photos([folder, other], 30)[0]))
    assert list(output.parent.iterdir()) == [output]


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
    for arguments, sentence in (
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
        assert re.search(f"^ncsr: .*{sentence}", err), err
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


# well-known sets


def test_the_sizes_of_the_known_sets() -> None:
    sizes = {"div2k": 900, "div2k-train": 800, "div2k-valid": 100, "flickr2k": 2650, "df2k": 3450, "unsplash2k": 498}
    assert {known.value for known in KnownSet} == sizes.keys()
    for name, size in sizes.items():
        assert deviations(KnownSet(name), ["x"] * (size + 1))[0] == f"{name} has {size} photographs, found {size + 1}"
    assert deviations(KnownSet.UNSPLASH2K, [f"{i}.jpg" for i in range(498)]) == []


def test_names_that_deviate_from_a_known_set() -> None:
    names = [f"{i:04}.png" for i in range(801, 901)]
    assert deviations(KnownSet.DIV2K_VALID, names) == []
    assert deviations(KnownSet.DIV2K_VALID, names[::-1]) == []
    assert deviations(KnownSet.DIV2K_VALID, [*names[3:-1], "0820.jpg", "0850.png", "0001.png", "0002.png"]) == [
        "4 missing: 0801.png to 0803.png, 0900.png",
        "4 surplus: 0001.png to 0002.png, 0820.jpg, 0850.png",
    ]


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
    for line, sentence in zip(
        err.splitlines(),
        [
            "div2k-valid has 100 photographs, found 99",
            "2 missing: 0803.png, 0900.png",
            "1 surplus: 900.png",
            "0850.png: 7 x 8 pixels, smaller than the crop of 8",
            "cannot read .*0870.png: it is damaged",
        ],
        strict=True,
    ):
        assert re.search(f"^ncsr: .*{sentence}", line), err
    assert _ncsr(monkeypatch, *check, "-o", output) == 2
    assert not output.exists()
