"""A finished run as an object: a few lines of text, and in a notebook the same above a picture."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from validation.statistics.claim import failed


def as_text(name: str, lines: Sequence[str]) -> str:
    """The `repr` of a result of a class `name`: one line for each of `lines`."""
    return f"{name}(\n" + "".join(f"    {line}\n" for line in lines) + ")"


def as_html(lines: Sequence[str], picture: bytes | None, words: str = "") -> str:
    """The same for a notebook; `picture` is a PNG, `words` says what it shows."""
    text = "<br>".join(html.escape(line) for line in lines)
    shown = "" if picture is None else base64.b64encode(picture).decode()
    image = f'<img alt="{html.escape(words)}" src="data:image/png;base64,{shown}">' if shown else ""
    return f"<div><p>{text}</p>{image}</div>"


def counts(claims: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many claims have each verdict, the most frequent first."""
    return dict(Counter(claim["verdict"] for claim in claims).most_common())


@dataclass(frozen=True, repr=False)
class FinishedRun:
    """What a command leaves: ``data`` is the content of its JSON file, ``path`` the folder it stands in."""

    data: dict[str, Any]
    path: Path

    KIND: ClassVar[str] = ""  # the stem of its page and its JSON file
    PICTURE: ClassVar[tuple[str, str]] = ("", "")  # the figure that a notebook shows, and what it is

    @property
    def page(self) -> Path:
        """The page with every figure."""
        return self.path / f"{self.KIND}.html"

    @property
    def failed_facts(self) -> list[str]:
        """Exact facts that did not hold; anything here is a bug."""
        return failed(self.data.get("checks", ()))

    def answer(self) -> str:
        """What came out, in one sentence without its stop."""
        raise NotImplementedError

    def headline(self) -> list[str]:
        """The answer and what was looked at; the verdicts where there are any."""
        data, lines = self.data, [f"{self.answer()}."]
        if "backend" in data:
            seed = f", seed {data['seed']}" if "seed" in data else ""
            lines.append(f"{data.get('kind', self.KIND)} on {data['backend']['name']}{seed}")
        lines += [f"{name}: {len(data[name])}" for name in ("cases", "cells") if name in data]
        if checks := data.get("checks"):
            lines.append("checks: " + ", ".join(f"{verdict}: {n}" for verdict, n in counts(checks).items()))
        lines += [f"EXACT FACTS FAILED: {', '.join(wrong)}"] if (wrong := self.failed_facts) else []
        return [*lines, f"page: {self.page}"]

    def __repr__(self) -> str:
        return as_text(type(self).__name__, self.headline())

    def _repr_html_(self) -> str:
        name, words = self.PICTURE
        file = self.path / "figures" / f"{name}.png"
        return as_html(self.headline(), file.read_bytes() if file.is_file() else None, words)
