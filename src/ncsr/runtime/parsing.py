"""Safe parsing of JSON and YAML from anyone: it runs no code, expands nothing, and raises nothing but ValueError."""

from __future__ import annotations

import json
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node

_DEPTH = 20  # of lists and mappings in one another
_LENGTH = 1000  # characters of a scalar
_TEXT = 2**15  # characters of a document, which take the parser half a second


def parse_json(text: str | bytes) -> Any:
    """`json.loads`, but too deep nesting raises ValueError as well."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None


def parse_yaml(text: str | bytes) -> Any:
    """Scalars, lists and mappings of a YAML document, without aliases, tags and dates (which stay text).

    Raises:
        ValueError: it is not such a document; the message is one line that says why and where.
    """
    if len(text) > _TEXT:
        raise ValueError(f"it is longer than {_TEXT} characters")
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # 0b_, a number without digits, is a ValueError
        raise ValueError(" ".join(str(error).split())) from None


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases, tags, duplicate keys, long scalars and deep nesting; dates stay text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] in ("bool", "int", "float", "null")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            raise ComposerError(None, None, "aliases (*name) and tags (!name) are not read", event.start_mark)
        if len(getattr(event, "value", "")) > _LENGTH or self.depth > _DEPTH:
            raise ComposerError(
                None, None, f"more than {_LENGTH} characters, or than {_DEPTH} lists in one another", event.start_mark
            )
        self.depth += 1
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise ConstructorError(None, None, "a key stands twice", node.start_mark)
        return mapping
