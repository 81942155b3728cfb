"""Plain values out of text, and one ValueError for all else; tests/hostile.py has more, by way of recipes."""

from __future__ import annotations

import pytest

from ncsr.runtime.parsing import parse_json, parse_yaml


def test_plain_values() -> None:
    assert parse_yaml("a: [1, 2.5, true, null, text, '3']\nb: {c: 2e-4, d: 1.0e-4}") == {
        "a": [1, 2.5, True, None, "text", "3"],
        "b": {"c": "2e-4", "d": 1e-4},
    }
    assert parse_yaml(b"when: 2020-01-01") == {"when": "2020-01-01"}
    assert parse_yaml("") is None
    assert parse_json('{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    "text", ["a: &b [*b]", "!!int abc", "! a", "[" * 30, "x" * 2000, "a: 1\na: 2", "0b_", "{", "\0"]
)
def test_all_else_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_deep_json() -> None:
    for text in ("[" * 10**5, '{"a":' * 10**5, "{"):
        with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
            parse_json(text)
