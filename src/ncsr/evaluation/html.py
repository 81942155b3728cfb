"""HTML by the templates of this folder, which escape all values except the HTML of other templates."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from ncsr.errors import needs_extra

with needs_extra("eval", "reports need jinja2", "jinja2", "markupsafe"):
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

_TEMPLATES = Environment(
    loader=PackageLoader("ncsr.evaluation"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> Markup:
    """A template of this folder, filled in; marked as escaped, so that other templates insert it unchanged."""
    return Markup(_TEMPLATES.get_template(template).render(values))


def render_in_pieces(template: str, **values: Any) -> Iterator[str]:
    """A template of this folder, piece by piece: what the values yield need not be in memory together."""
    return _TEMPLATES.get_template(template).generate(values)


def data_url(picture: bytes, kind: str = "png") -> str:
    """A picture's file as the source of an `img` within the page."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
