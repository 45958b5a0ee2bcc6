"""The section of a page that says on what theory its claims rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .markup import Section, code, link, prose, table
from .theory import Topic, documentation, topics_of


def theory_section(claims: Sequence[Mapping[str, Any]]) -> Section | None:
    """A note on every part of the theory that a claim rests on, folded; claims link to it, which opens it."""
    topics = topics_of(claim["id"] for claim in claims)
    if not topics:
        return None
    notes = table(("part", "what it says", "claims"), map(_topic, topics.items()), "words theory", "Theory")
    return Section("Theory", [notes], folded=True)


def _topic(entry: tuple[Topic, Sequence[str]]) -> list[Markup]:
    topic, claims = entry
    place, where = documentation(topic), f"docs/{topic.page}.md"
    title = Markup('<span id="{}">{}</span>').format(topic.target, link(topic.title, place) if place else topic.title)
    return [
        title + Markup("<br><small>{}</small>").format(code(where)),
        prose(topic.states),
        Markup(", ").join(map(code, claims)),
    ]
