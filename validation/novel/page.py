"""The page of a run with novel examples: verdicts, figures with captions, the table, what was left out, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from validation.report.markup import (
    Section,
    captioned,
    figures_section,
    note,
    page,
    prose,
    sentence,
    settings,
    table,
)
from validation.report.source import Report
from validation.report.text import answered, outcome
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import failed
from validation.statistics.estimate import written

from .answer import answer
from .cell import CONTROL
from .summary import OUTCOMES

CAPTIONS = {
    "novel": (
        "One network, round after round: width {width:g}, seed {seed}. Updates are counted from the first showing; "
        "vertical lines are showings of {novel} novel examples. Risk, order parameter ‖∇R‖² and active examples are "
        "those of the batch ({batch}); below on the left the risk of the older examples alone. Extreme eigenvalues "
        "λ_min and λ_max and rms of the batch's Hessian, where it was measured: before and after the showing, and at a "
        "half and a tenth of the jump's risk. Aligned share of circuits: of the examples that are novel in a round "
        "(filled) and of the older ones (hollow), before the showing and at the end of the round."
    ),
    "novel_rounds": (
        "Against the number of earlier perturbations. Means over networks with standard errors. Jump of the order "
        "parameter, updates to risk 0 (at least {updates:,} where it was not reached), and the share of the rounds "
        "with errors that did not return to risk 0. Hollow, right of the last round: networks that learned the "
        "examples of all rounds before at once and were shown the last round only."
    ),
    "novel_size": (
        "Against the number of weights. Means over networks and rounds with standard errors over seeds: decay time τ "
        "of the risk, updates to risk 0, jump of ‖∇R‖², rms of the Hessian at the jump."
    ),
}
HEAD = ("width", "kind", "round", "networks", "with errors", "risk 0", "flat", "above", "diverged", "novel with error",
        "jump of risk", "jump of ‖∇R‖²", "λ_min", "λ_max", "rms", "τ risk", "τ ‖∇R‖²", "updates to 0",
        "aligned before", "after")  # fmt: skip
SHORT = (0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 15, 17)  # columns of the terminal


def rows(data: Report) -> list[list[str]]:
    """The table: one row for every width, kind and round."""
    return [
        [
            f"{r['width']:g}", r["kind"], str(r["round"]), str(r["networks"]), str(r["excited"]),
            *(str(r[o]) for o in OUTCOMES),
            *(written(r[k]) for k in ("novel_active", "risk", "order_parameter", "minimum", "maximum", "rms", "tau",
                                      "tau_order", "zero_after", "aligned_before", "aligned_after")),
        ]
        for r in data["table"]
    ]  # fmt: skip


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, the table, with fewer columns, and the verdicts."""
    body = [[row[i] for i in SHORT] for row in (list(HEAD), *rows(data))]
    widths = [max(len(row[i]) for row in body) for i in range(len(SHORT))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in body]
    return "\n".join(
        [answered(answer(data)), "", lines[0], "-" * len(lines[0]), *lines[1:], "", outcome(data["checks"])]
    )


def shown_cell(data: Report) -> Report | None:
    """The cell whose rounds are drawn: of the widest networks that came to risk 0 the first."""
    seen = [c for c in data["cells"] if c["first"]["outcome"] == "zero"] or data["cells"]
    found: Report | None = max(seen, key=lambda c: c["width"], default=None)
    return found


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    options, cell = data["options"], shown_cell(data)
    words = {k: options[k] for k in ("novel", "updates", "batch")}
    words |= {"width": cell["width"], "seed": cell["seed"]} if cell else {"width": 0, "seed": 0}
    shown = {name: captioned(name, CAPTIONS[name].format(**words), picture) for name, picture in figures.items()}
    everything = table(map(prose, HEAD), rows(data), "numbers", "The table")
    parts = [
        Section(
            "",
            [*beginning(answer(data), failed(data["checks"])), shown.pop("novel", ""), note(sentence(summary(data)))],
        ),
        judged(data["checks"], _VERDICTS),
        figures_section(list(shown.values()), data),
        Section("The table", [note(_NOTE), everything], folded=True),
        _left_out(data),
        settings(data),
    ]
    return page("Novel examples", f"Umwelt {data['version']}", parts)


_VERDICTS = (
    "All other claims are decided by two standard errors over seeds, and are not "
    "resolved with fewer than three seeds. They are about rounds before which the risk was exactly 0."
)
_NOTE = (
    "Means over networks that were at risk 0 before the round, with standard errors over seeds. With errors: rounds in "
    "which a novel example has a nonzero error. Risk 0, flat, above, diverged: how rounds ended; flat is a risk above "
    "0 with ∇R = 0. Novel with error: the share of the novel examples. τ: fitted decay time in updates, of the rounds "
    "where one is seen. Updates to 0: a round that was not absorbed counts with the most updates allowed. Aligned: "
    "share of the circuits of the novel examples. The row 'twin' is of networks that were never perturbed before."
)


def summary(data: Report) -> str:
    """What was run, how it came out, and how long it took."""
    options, cells, took = data["options"], data["cells"], data["seconds"]
    ended = [s["outcome"] for c in cells for k, shown in c["kinds"].items() if k != CONTROL for s in shown]
    old = "old examples stay in the batch" if options["batch"] == "old+novel" else "old examples leave the batch"
    return (
        f"{data['dataset']}. Networks {options['network']}, hinge loss, batches of {options['batch_size']}, rate "
        f"{options['learning_rate']:g}, momentum {options['momentum']:g}, velocity 0 as a round begins; {old}. "
        f"{data['rested']} of {len(cells)} networks came to risk 0 in their first training. {ended.count('zero')} of "
        f"{len(ended)} rounds of novel examples ended at risk 0 within {options['updates']:,} updates. "
        f"{len(cells)} networks took {took['cells_cpu']:.0f} s of processor time. Backend {data['backend']['name']} "
        f"({data['backend']['dtype']})."
    )


def _left_out(data: Report) -> Section | None:
    """Networks that no mean holds, with where they ended."""
    body: Sequence[list[str]] = [
        [f"{c['width']:g}", str(c["seed"]), c["first"]["outcome"], _last_risk(c)]
        for c in data["cells"]
        if c["first"]["outcome"] != "zero"
    ]
    if not body:
        return None
    words = "Networks whose first training did not end at risk 0. They were shown novel examples all the same."
    head = ("width", "seed", "first training", "risk")
    return Section("Left out of the means", [note(words), table(head, body, "words", "Left out")])


def _last_risk(cell: Report) -> str:
    points = cell["first"]["points"]
    return f"{points[-1]['risk']:.3g}" if points else "–"
