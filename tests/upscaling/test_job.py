"""Jobs: what results are called, and what is said of a failure."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ncsr import InputError, SamplingError
from ncsr.upscaling.job import error_message


def test_a_failure_names_its_photograph_though_another_name_ends_alike() -> None:
    path, target = Path("1.png"), Path("out/1.png")

    def message(error: Exception) -> str:
        return error_message(path, target, error)

    assert message(InputError("cannot write out/11.png: no room")) == "1.png: cannot write out/11.png: no room"
    assert message(InputError("cannot read in/1.png: it is empty")) == "1.png: cannot read in/1.png: it is empty"
    assert message(InputError("cannot read 1.png: it is empty")) == "cannot read 1.png: it is empty"
    assert message(InputError("cannot write out/1.png: no room")) == "cannot write out/1.png: no room"
    assert message(SamplingError("sample 1 was not finite")) == "1.png: sample 1 was not finite"
    assert message(MemoryError()).startswith("1.png: not enough memory: ")
    assert message(OSError(errno.ENOMEM, "Cannot allocate memory")).startswith("1.png: not enough memory: ")
    with pytest.raises(OSError, match="a bug"):
        message(OSError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        message(RuntimeError("a bug"))
