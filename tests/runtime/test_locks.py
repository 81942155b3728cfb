"""Locks are one process's alone, end with it, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from ncsr.errors import InputError
from ncsr.runtime import locks
from ncsr.runtime.files import atomic_path
from ncsr.runtime.locks import TEMPORARY, exclusive, hold, release, remove_abandoned

HOLD = """
import sys
from ncsr.runtime.files import atomic_path
from ncsr.runtime.locks import exclusive
with exclusive(sys.argv[1]), atomic_path(sys.argv[1] + "/half.bin") as path:
    path.write_text("half")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has `path` locked, and is writing a file into it."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_is_another_process_s_until_that_dies(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        sentence = rf"^{tmp_path} is being written by process {process.pid}: wait until that ends, or choose"
        with pytest.raises(InputError, match=sentence), exclusive(tmp_path):
            raise AssertionError
        remove_abandoned(tmp_path)
        assert len(os.listdir(tmp_path)) == 2  # neither the lock nor the file is abandoned
        process.kill()
        process.wait()
        with exclusive(tmp_path):
            assert len(os.listdir(tmp_path)) == 2
            remove_abandoned(tmp_path)
            assert os.listdir(tmp_path) == [".ncsr-lock"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", [5, 255])
def test_a_file_is_locked_beside_it_whatever_its_name(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    with exclusive(path), exclusive(tmp_path / "other"):
        with pytest.raises(InputError, match=f"is being written by process {os.getpid()}"), exclusive(path):
            raise AssertionError
        path.write_text("")
    assert os.listdir(tmp_path) == [path.name]


def test_another_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with exclusive(tmp_path):
        monkeypatch.setattr("socket.gethostname", lambda: "other")
        with pytest.raises(InputError, match=rf"process {os.getpid()} on \S+:"), exclusive(tmp_path):
            raise AssertionError


def test_what_cannot_be_locked_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^cannot write .*/no/a: No such file"), exclusive(tmp_path / "no" / "a"):
        raise AssertionError


def test_nobody_holds_a_lock_that_its_holder_has_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opened the file before it was removed, and locks it after that, makes it anew."""
    file, first, lock = tmp_path / "lock", hold(tmp_path / "lock"), locks._lock
    assert first is not None

    def late(descriptor: int) -> bool | None:
        monkeypatch.setattr(locks, "_lock", lock)
        release(file, first)
        return lock(descriptor)

    monkeypatch.setattr(locks, "_lock", late)
    second = hold(file)
    assert second is not None
    assert hold(file) is None
    release(file, second)
    assert os.listdir(tmp_path) == []


def test_one_at_a_time(tmp_path: Path) -> None:
    """Threads that ask again and again never have a lock together, though the file is removed each time."""
    inside: list[int] = []
    seen: list[int] = []

    def work() -> None:
        while len(seen) < 200:
            try:
                with exclusive(tmp_path):
                    inside.append(1)
                    seen.append(len(inside))
                    inside.pop()
            except InputError:
                pass

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {1}


def test_without_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    (tmp_path / f"{TEMPORARY}perhaps-in-use").write_text("")
    with exclusive(tmp_path), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("whole")
        remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"{TEMPORARY}perhaps-in-use", "a"]
