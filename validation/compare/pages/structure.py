"""What a page says of a run with --structure: far eigenvectors, and the shortest description that suffices."""

from __future__ import annotations

from markupsafe import Markup

from validation.predictions.structure import (
    CLOSE_L1,
    CLOSE_LARGEST,
    KINDS,
    described_by_directions,
    largest_ratio,
    smallest_description,
)
from validation.report.markup import Section, note, number, table, together
from validation.report.source import Report


def structure_section(data: Report) -> Section | None:
    """Two tables; nothing for a run without --structure."""
    epochs = [e for e in data["epochs"] if e.get("structure", {}).get("directions")]
    if not epochs:
        return None
    return Section("Structure", [_descriptions(epochs, data["network"]["n_weights"]), _outliers(epochs)], folded=True)


def _descriptions(epochs: list[Report], n: int) -> Markup:
    words = (
        f"The fewest numbers known of the weights at which L1 ≤ {CLOSE_L1:g} and the five largest "
        f"eigenvalues on either side are within {100 * CLOSE_LARGEST:g} % on average, among the descriptions that "
        "were tried: norms of neurons, and leading directions of the signals. An L1 within its standard error will do. "
        "A dash: none was sufficient."
    )
    rows = []
    for epoch in epochs:
        directions = epoch["structure"]["directions"]
        kinds = {id(case): kind for kind in KINDS for case in directions.get(kind, ())}
        best = smallest_description(described_by_directions(epoch), epoch["spectrum"])
        cells: list[object] = [None] * 6
        if best is not None:
            ratio = largest_ratio(best, epoch["spectrum"])
            cells = [kinds[id(best)], best["directions"], best["known"], best["known"] / n, best["l1"], ratio]
        rows.append([number(epoch["epoch"]), *map(number, cells)])
    head = ("epoch", "directions", "how many", "numbers", "of the weights", "L1", "largest")
    return together([note(words), table(head, rows, "numbers", "Shortest sufficient description")])


def _outliers(epochs: list[Report]) -> Markup:
    words = (
        "Eigenvectors of the largest eigenvalues, in rms. Gradient: their squared overlap with ∇R. "
        "Span: their share in the span of the weights and the gradients of single layers (E3, E4). Layer: where the "
        "largest share of the eigenvector is."
    )
    rows = []
    for epoch in epochs:
        for one in epoch["structure"]["outliers"]:
            share = max(one["layers"])
            layer = f"{one['layers'].index(share) + 1} ({100 * share:.0f} %)"
            value = one["eigenvalue"] / epoch["spectrum"]["rms"]
            rows.append([number(epoch["epoch"]), *map(number, (value, one["gradient"], one["span"], layer))])
    head = ("epoch", "eigenvalue", "gradient", "span", "layer")
    return together([note(words), table(head, rows, "numbers", "Far eigenvectors")] if rows else [])
