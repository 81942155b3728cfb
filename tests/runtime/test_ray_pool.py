"""Joining a cluster leaves this process as it is. What the workers do is in tests/upscaling/test_on_ray.py."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ncsr.errors import InputError
from ncsr.runtime import ray_pool


def test_what_others_write_to_standard_error_while_a_cluster_is_joined_arrives(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        ray = ray_pool.import_ray()  # not by importorskip: it is told what not to print before it is imported
    except InputError:
        pytest.skip("needs Ray")
    monkeypatch.setattr(ray, "init", lambda *_, **how: os.write(2, b"another thread\n"))
    ray_pool._join("local")
    assert capfd.readouterr().err == "another thread\n"


@pytest.mark.parametrize(("asked_for", "answer", "precision"), [("auto", True, "bfloat16"), ("auto", False, "float32")])
def test_precision_is_what_pays_for_a_worker(
    asked_for: str, answer: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ray:
        """A cluster of one worker, which is this process."""

        @staticmethod
        def remote(**resources: int) -> Any:
            assert resources == {"num_cpus": 1, "num_gpus": 0}
            return lambda function: type("Task", (), {"remote": lambda self, *arguments: answer})()

        @staticmethod
        def get(reference: Any) -> Any:
            return reference

    monkeypatch.setattr(ray_pool, "import_ray", Ray)
    assert ray_pool.Workers(2, 1, "cpu").precision(asked_for) == precision
    assert ray_pool.Workers(2, 1, "cpu").precision("float32") == "float32"
