"""A cluster of two workers: the same bytes as without it, whatever dies, and one sentence for whatever is wrong."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import imagecodecs
import numpy as np
import pytest
from fsspec.registry import known_implementations
from PIL import Image

from ncsr.cli.options import with_address
from ncsr.errors import InputError
from ncsr.images import write_pixels
from ncsr.runtime import ray_pool
from ncsr.upscaling import on_ray, pipeline
from ncsr.upscaling.job import Job, UpscaleResult
from tests.conftest import Command, scene, scene8

_BUCKET = {"target_protocol": "file"}  # fsspec's dir:// then is a folder of its own, as far from paths as a bucket is


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder behind dir://, for this process and for the workers that it starts."""
    folder = tmp_path_factory.mktemp("bucket")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in (_BUCKET | {"path": str(folder)}).items():
            patch.setenv(f"FSSPEC_DIR_{key.upper()}", value)
        patch.setitem(fsspec.config.conf, "dir", _BUCKET | {"path": str(folder)})
        yield folder


@pytest.fixture(scope="module")
def two_workers(bucket: Path) -> Iterator[None]:
    """Ray in this process and on this machine alone."""
    try:
        ray = ray_pool.import_ray()
    except InputError:
        pytest.skip("needs Ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        how = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.CRITICAL}
        ray.init("local", num_cpus=2, object_store_memory=100 * 2**20, **how)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that are computed together and alone, in two folders, and a broken one."""
    folder = tmp_path_factory.mktemp("photographs") / "tree"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "c.tif", "d.jpg", "deep/a.png", "deep/e.png", "deep/f.webp")):
        Image.fromarray(scene8(6, 8 if seed != 1 else 10, seed=seed)).save(folder / name)
    deep = (scene(40, 24, seed=9) * 65535).astype(np.uint16)
    (folder / "deep" / "g.png").write_bytes(imagecodecs.png_encode(deep))
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    return folder


@pytest.fixture
def upscale(ncsr_: Command, tiny_model_folder: Path) -> Command:
    """Runs `ncsr upscale` with two samples of seed 3, in tiles where the photograph has more than 16 pixels a side."""
    how = ("-m", tiny_model_folder, "-r", "-n", 2, "--seed", 3, "--tile", 16)
    return lambda *arguments: ncsr_("upscale", *how, *arguments)


def _contents(folder: Path) -> dict[str, bytes]:
    """All files but records, by their place in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != ".ncsr")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.usefixtures("two_workers")
def test_same_bytes_same_names_same_failures(upscale: Command, tree: Path, tmp_path: Path) -> None:
    alone = upscale(tree, "-o", tmp_path / "alone", "--std", "--sheet", "--consistent")
    result = upscale(tree, "-o", tmp_path / "out", "--std", "--sheet", "--consistent", "--ray")
    assert (alone.code, result.code) == (1, 1)
    assert sorted(alone.err.splitlines()) == sorted(result.err.replace("/out/", "/alone/").splitlines())
    assert sorted(result.out.splitlines()) == sorted(alone.out.replace("/alone/", "/out/").splitlines())
    assert len(_contents(tmp_path / "out")) == 32
    assert _contents(tmp_path / "out") == _contents(tmp_path / "alone")


@pytest.mark.slow  # the tests of buckets and of a worker killed read what workers recorded
@pytest.mark.usefixtures("two_workers")
def test_records_are_those_of_one_machine(upscale: Command, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    upscale(tree, "-o", out, "--skip-existing")
    before = _contents(out)
    (out / "deep" / "e_s1.png").unlink()
    result = upscale(tree, "-o", out, "--skip-existing", "--ray")
    assert result.code == 1
    assert sorted(result.paths) == [out / "deep" / f"e_s{k}.png" for k in range(2)]
    assert "left out 7 of 9: made before with the same settings" in result.err
    assert _contents(out).keys() == before.keys()
    again = upscale(tree, "-o", out, "--skip-existing")
    assert again.paths == []
    assert "left out 8 of 9" in again.err


@pytest.mark.usefixtures("two_workers")
def test_from_bucket_to_bucket(upscale: Command, tree: Path, bucket: Path, tmp_path: Path) -> None:
    for name, content in _contents(tree).items():
        (bucket / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / "in" / name).write_bytes(content)
    upscale(tree, "-o", tmp_path / "alone")
    how = ("dir://in", "-o", "dir://results/of", "--skip-existing", "--ray", "local")
    result = upscale(*how)
    result.failed(r"^ncsr: cannot read dir://in/broken\.png: it is damaged", code=1)
    assert sorted(result.out.splitlines())[0] == "dir://results/of/a_s0.png"
    assert _contents(bucket / "results" / "of") == _contents(tmp_path / "alone")
    (bucket / "results/of/b_s0.png").write_bytes(b"cut")
    again = upscale(*how)
    assert sorted(again.out.splitlines()) == [f"dir://results/of/b_s{k}.png" for k in range(2)]
    assert "left out 7 of 9: made before with the same settings" in again.err
    assert _contents(bucket / "results" / "of") == _contents(tmp_path / "alone")


class _Mortal(on_ray._Enlarger):
    """The first worker that comes here is killed as it writes its third file; who comes after it is not."""

    def __init__(self, marker: Path, job: Job, device: str) -> None:
        super().__init__(job, device)
        self._marker = marker

    def __call__(self, group: Sequence[on_ray._Entry]) -> list[UpscaleResult]:
        if _first(self._marker):
            pipeline.write_pixels = _killed_at(3)  # type: ignore[assignment]
        return super().__call__(group)


class _Doomed(on_ray._Enlarger):
    """A worker that one photograph kills, whenever it is tried."""

    def __call__(self, group: Sequence[on_ray._Entry]) -> list[UpscaleResult]:
        if any(entry.source.name == "b.png" for entry in group):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(group)


def _first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _killed_at(number: int) -> Callable[..., None]:
    count = itertools.count(1)

    def write(*arguments: Any, **options: Any) -> None:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        write_pixels(*arguments, **options)

    return write


@pytest.mark.usefixtures("two_workers")
def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    upscale: Command, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscale(tree, "-o", tmp_path / "alone")
    monkeypatch.setattr(on_ray, "_Enlarger", partial(_Mortal, tmp_path / "killed"))
    result = upscale(tree, "-o", tmp_path / "out", "--skip-existing", "--ray")
    result.failed(r"broken\.png", code=1)
    assert (tmp_path / "killed").exists()
    assert _contents(tmp_path / "out") == _contents(tmp_path / "alone")
    assert sorted(result.paths) == sorted(tmp_path / "out" / name for name in _contents(tmp_path / "out"))
    assert upscale(tree, "-o", tmp_path / "out", "--skip-existing").paths == []  # every record is there


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_work_is_done_by_fewer_workers_than_there_were() -> None:
    """A third worker, as if of a machine that was lost, has no core until the others have nothing to do."""
    pool = ray_pool.Workers(3, 1, "cpu")
    assert sorted(pool.run([range(3), range(3, 6)], list, _doubling)) == [0, 2, 4, 6, 8, 10]


def _doubling(device: str) -> Callable[[int], int]:
    return lambda number: 2 * number


@pytest.mark.usefixtures("two_workers")
def test_what_kills_every_worker_is_one_failure(
    upscale: Command, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "_RETRIES", 0)
    monkeypatch.setattr(on_ray, "_Enlarger", _Doomed)
    result = upscale(tree, "-o", tmp_path / "out", "--ray")
    result.failed(r"tree/b\.png: its worker died each time", r"tree/broken\.png", code=1)
    assert len(_contents(tmp_path / "out")) == 14


def test_one_sentence_for_whatever_is_wrong(
    upscale: Command, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr("ray.is_initialized", lambda: False)
        upscale(tree, "-o", out, "--ray", address).failed(f"no Ray cluster answers at {address} .*: name a cluster")
    upscale(tree, "-o", out, "--ray", "photos").failed("--ray photos is no address: name a cluster's HOST:PORT")
    upscale(tree, "-o", out, "--ray", "ray://host:10001").failed("name HOST:PORT without ray://, or auto")
    upscale(tree, "-o", out, "--ray", "--device", "mps").failed("compute on auto, cpu or cuda, got --device mps")
    monkeypatch.setitem(sys.modules, "ray", None)
    upscale(tree, "-o", out, "--ray").failed(r"--ray needs Ray on every machine: pip install 'ncsr\[ray\]'")
    upscale("dir://in", "-o", out).failed("dir://in is a URL: add --ray")
    upscale(tree, "-o", "memory://out", "--ray").failed("memory is not shared between processes")
    upscale(tree, "-o", "nothing://out", "--ray").failed("fsspec knows no nothing://")
    monkeypatch.setitem(known_implementations, "cloud", {"class": "cloudfs.Cloud", "err": "Install cloudfs"})
    upscale("cloud://bucket/in", "-o", out, "--ray").failed(
        r"cloud://bucket/in: there is no driver for cloud:// here: pip install cloudfs \(on every machine\)"
    )
    assert not out.exists()


def test_a_bucket_needs_the_seed_of_its_records(ncsr_: Command, tree: Path, bucket: Path) -> None:
    result = ncsr_("upscale", tree, "-o", "dir://out", "--skip-existing", "--ray")
    result.failed("--skip-existing needs --seed where -o is a URL")


def test_ray_alone_is_local() -> None:
    assert with_address(["upscale", "in", "--ray"]) == ["upscale", "in", "--ray", "local"]
    assert with_address(["--ray", "-o", "out"]) == ["--ray", "local", "-o", "out"]
    assert with_address(["--ray", "auto", "-r"]) == ["--ray", "auto", "-r"]
    assert with_address([]) == []
