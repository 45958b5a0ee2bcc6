"""What a page begins with: the answer with its picture, where the prediction fails; then verdicts and their theory."""

from __future__ import annotations

from markupsafe import Markup

from validation.compare.answer import answer, answered, failures, standings, written
from validation.compare.captions.run import UNCERTAIN, caption
from validation.compare.claims.predictions import CLOSE
from validation.compare.report import headline
from validation.predictions.rung import MOMENT_RUNGS, title_of
from validation.report.markup import (
    Section,
    badge,
    banner,
    beside,
    captioned,
    code,
    items,
    link,
    note,
    prose,
    sentence,
    table,
)
from validation.report.source import Report
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import failed

NOTHING = "Nothing that was tested of the best prediction fails."


def answer_section(data: Report, picture: bytes | None) -> Section:
    """The sentence of the answer, its picture, and how near every rung comes."""
    warnings = []
    if not data.get("complete", True):
        done = ", ".join(str(e["epoch"]) for e in data["epochs"]) or "none"
        warnings.append(banner("Not finished.", f"Recorded epochs: {done}."))
    shown = captioned("headline", caption("headline", data), picture) if picture and data["epochs"] else ""
    table_of = _standings(data)
    both = beside(shown, table_of) if shown and table_of else Markup(shown or table_of)
    where = "; ".join(headline(data)[:-1])
    return Section("", [*warnings, *beginning(answer(data), failed(data["claims"])), both, note(sentence(f"{where}."))])


def _standings(data: Report) -> Markup:
    epoch = answered(data)
    if epoch is None:
        return Markup()
    rows = [
        [Markup("{} <small>{}</small>").format(code(one.rung), title_of(one.rung)),
         prose(written(one.distance)), badge(one.verdict)]
        for one in standings(epoch)
    ]  # fmt: skip
    title = f"L1 at epoch {epoch['epoch']}"
    return table(("rung", title, f"≤ {CLOSE:g}"), rows, "words standings", title)


def failures_section(data: Report) -> Section | None:
    """What the best prediction gets wrong, and how many claims are not supported."""
    if not data["epochs"]:
        return None
    found: list[str] = list(failures(data))
    uncertain = [e for e in data["epochs"] if (e["spectrum"]["l1_standard_error"] or 0.0) > UNCERTAIN]
    if uncertain:
        at = ", ".join(str(e["epoch"]) for e in uncertain)
        found.append(f"The measurement at epochs {at} is too uncertain to test a prediction: a standard error above "
                     f"{UNCERTAIN:g}.")  # fmt: skip
    if not found and answered(data) is not None:
        found = [NOTHING]
    lost = [c for c in data["claims"] if c["verdict"] == "not supported"]
    if lost:
        names = Markup(", ").join(code(c["id"]) for c in lost)
        said = Markup("{} of {} claims are not supported: {}. ").format(len(lost), len(data["claims"]), names)
        found.append(said + link("See the verdicts.", "#verdicts"))
    return Section("Where it fails", [items(found)]) if found else None


def verdicts_section(data: Report) -> Section:
    """Counts, then what is not supported; every claim behind a fold."""
    words = (
        "Claims under test are those of the paper, and that its spectrum follows from what a rung knows. "
        f"{', '.join(MOMENT_RUNGS)} are baselines, given moments of the Hessian itself, and make no claim."
    )
    return judged(data["claims"], words)
