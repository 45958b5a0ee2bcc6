"""The style of the references: each work is labelled by its key, as docstrings have it in plain text, [Helton2007]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx


class Keys(BaseLabelStyle):
    """The key of an entry for its label."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        return (entry.key for entry in sorted_entries)


class Keyed(Style):
    """Pybtex' plain style with these labels."""

    default_label_style = Keys


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the style "keyed"."""
    register_plugin("pybtex.style.formatting", "keyed", Keyed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
