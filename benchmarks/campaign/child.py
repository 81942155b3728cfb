"""`ncsr` in a process of its own that is forked from this one, where everything is imported: a trial costs no start.

Such a process is the command as users have it but for its first and its last moment, Python's own start and end.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import ncsr.__main__
import ncsr.cli
import ncsr.data.packing
import ncsr.evaluation.run
import ncsr.pretrained.published
import ncsr.training.dry_run
import ncsr.training.run
import ncsr.upscaling.pipeline

SECONDS, MEBIBYTES = 20.0, 1024.0  # of processor time and of memory that any trial may take, beyond a process at rest
HANGS = 150.0  # seconds after which a process is ended
SENTENCE = 600  # characters of an error
_OURS = re.compile(
    r"ncsr: |seed \d+$|left out|saved; go on with: |step \d+( of \d+)?: |The loss fell|.* is damaged.*: going back"
)


@dataclass(frozen=True)
class Ended:
    """What a command left behind; a negative code is the signal that ended it."""

    code: int
    out: str
    err: str
    seconds: float
    """Of processor time."""
    wall: float
    mebibytes: float
    """At most in memory, beyond a process at rest."""

    @property
    def first(self) -> str:
        """The first line of what it said."""
        return (self.err or self.out).strip().partition("\n")[0][:200]


def run(
    folder: Path,
    *arguments: object,
    before: Callable[[], None] | None = None,
    due: Callable[[float], bool] | None = None,
    sends: int = signal.SIGKILL,
) -> Ended:
    """Run `ncsr ARGUMENTS` in a folder.

    Args:
        folder: the working directory.
        arguments: of the command line.
        before: called in the process first.
        due: told the seconds since the start, now and then; once it says so, the signal `sends` goes to the process.
        sends: a signal.
    """
    out, err = (os.memfd_create(name) for name in ("out", "err"))
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        _be_ncsr(folder, [str(argument) for argument in arguments], out, err, before)
    status, sent = None, False
    while status is None:
        done, ended, usage = os.wait4(process, os.WNOHANG)
        now = time.monotonic() - start
        if done:
            status = os.waitstatus_to_exitcode(ended)
        elif now > HANGS:
            os.kill(process, signal.SIGKILL)
            sends, sent = signal.SIGKILL, True
        elif due is not None and not sent and due(now):
            os.kill(process, sends)
            sent = True
        else:
            time.sleep(0.001 if due is not None and not sent else 0.005)
    texts = [_text(file) for file in (out, err)]
    return Ended(status, *texts, usage.ru_utime + usage.ru_stime, now, usage.ru_maxrss / 1024 - _AT_REST)


def faults(ended: Ended, *codes: int, seconds: float = SECONDS, mebibytes: float = MEBIBYTES) -> list[str]:
    """Which promises an ended command broke that may end with one of these codes."""
    found, lines = [], ended.err.splitlines()
    if "Traceback" in ended.err or "Traceback" in ended.out:
        found.append(f"traceback: {lines[-1][:300] if lines else ''}")
    elif ended.wall > HANGS:
        found.append(f"hangs: after {HANGS:.0f} s")
    elif ended.code not in codes:
        found.append(f"exit code: {ended.code}, expected {' or '.join(map(str, codes))}; said {ended.first!r}")
    else:
        found += [f"another's words: {line[:300]}" for line in lines if not _OURS.match(line)][:1]
        if ended.code == 2 and not any(line.startswith("ncsr: ") for line in lines):
            found.append("silence: exit code 2 without a sentence")
        found += [f"long sentence: {len(line)} characters: {line[:200]}" for line in lines if len(line) > SENTENCE][:1]
        if any(not (mark.isprintable() or mark == "\n") for mark in ended.err):
            found.append(f"control codes: {ended.first!r}")
    if ended.seconds > seconds:
        found.append(f"time: {ended.seconds:.1f} s of processor time, at most {seconds:.0f}")
    if ended.mebibytes > mebibytes:
        found.append(f"memory: {ended.mebibytes:.0f} MiB, at most {mebibytes:.0f}")
    return found


def _be_ncsr(folder: Path, arguments: list[str], out: int, err: int, before: Callable[[], None] | None) -> None:
    """The forked process: never returns."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="strict", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.argv = ["ncsr", *arguments]
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 5, int(SECONDS) + 10))
        if before is not None:
            before()
        ncsr.__main__.main()
    except KeyboardInterrupt:  # before the command's first moment or after its last, which the ordinary tests try
        code = 128 + signal.SIGINT
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _text(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, size, 0).decode(errors="surrogateescape")
    os.close(file)
    return text


def _at_rest() -> float:
    """MiB that a forked process has before it does anything."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    return os.wait4(process, 0)[2].ru_maxrss / 1024


torch.set_num_threads(1)  # threads do not outlive a fork
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
_AT_REST = _at_rest()
