"""What a page says of a run with --whole: H, G and H + G at every epoch, outliers, and spectra of the Gram matrix."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from validation.predictions.whole import SUMS, WHOLE_RUNGS
from validation.report.markup import Section, note, number, numbers, table, together, with_error
from validation.report.source import Report
from validation.statistics.estimate import plus_minus

SHOWN = 3  # largest eigenvalues of a Gram spectrum


def whole_section(data: Report) -> Section | None:
    """Three tables; one where the loss has no curvature, nothing for a run without --whole."""
    epochs = [e for e in data["epochs"] if e.get("whole")]
    if not epochs:
        return None
    bent = [e for e in epochs if e["whole"]["spectrum"]]
    parts = [_parts(bent), _largest(bent)] if bent else [_no_curvature(data)]
    return Section("Spectrum of the whole", [*parts, _grams(epochs)], folded=True)


def _no_curvature(data: Report) -> Markup:
    return note(
        f"The {data['loss']} loss has ℓ'' = 0 wherever it is differentiable: its Gauss-Newton part G is 0, and the "
        "residual part H is the whole Hessian.",
        "",
    )


def _parts(bent: list[Report]) -> Markup:
    """What H, G and H + G are, then how near every law comes to that of H + G."""
    names = (*SUMS, *WHOLE_RUNGS)
    words = (
        "Mean squares of eigenvalues, tr(·)²/N, ± one standard error: of the residual part H "
        "(measured), of the Gauss-Newton part G (exact), and 2 tr HG/N. Skew: tr λ³/tr |λ|³."
    )
    about = (
        "Two distances to the measured law of H + G: L1 of the densities, smoothed with the same η in "
        "its own rms, and that of the laws of log|λ| on either side of 0. H, G: that part alone. Free: free sum of the "
        "measured H and of G. Sampled rungs: drawn H with the G of the same signals. Error: what the distances of two "
        "equal laws would be."
    )
    head = ("epoch", "tr H²/N", "tr G²/N", "2 tr HG/N", "skew of H", "of H + G")
    rows, others = [], []
    for epoch in bent:
        made = epoch["whole"]
        squares, law = made["squares"], made["spectrum"]
        sides = [_skew(one["symmetry"]) for one in (epoch["spectrum"], law)]
        cells = [_rounded(squares[name]) for name in ("residual", "gauss_newton", "cross")]
        rows.append([number(epoch["epoch"]), *cells, *sides])
        errors = numbers(law["l1_standard_error"], law["bulk"]["log_standard_error"], digits=2)
        distances = (_distances(made["predictions"].get(name, {})) for name in names)
        others.append([number(epoch["epoch"]), errors, *distances])
    parts, laws = (
        table(head, rows, "numbers", "H, G and H + G"),
        table(("epoch", "error", *names), others, "numbers", "Laws of H + G"),
    )
    return together([note(words), parts, note(about), laws])


def _distances(made: Report) -> str:
    if "l1" not in made:
        return number(None)
    return f"{made['l1']:.3f}, {made['log_distance']:.3f}"


def _rounded(found: Report, scale: float = 1.0) -> str:
    """scale · (a value ± its standard error), three digits and one."""
    value, error = scale * found["value"], found["standard_error"]
    return with_error(value, scale * error, error_digits=1) if error else number(value)


def _skew(symmetry: Report) -> str:
    return plus_minus({"value": symmetry["skew"], "standard_error": symmetry["skew_standard_error"]}).replace("-", "−")


def _largest(bent: list[Report]) -> Markup:
    words = (
        "The largest eigenvalues λ of H + G beside those of G, θ. Law: where λ would be, and how much "
        "of G's eigenvector u would be left, if u knew nothing of H. uᵀHu: the shift to first order. |Hu|: in rms of "
        "H, 1 if u knew nothing of H. Overlap: of the eigenvectors of equal rank, and of that of H + G with five of G. "
        "Classes: the share of u in the mean gradients of the two classes. Gradient: squared overlap of H + G's "
        "eigenvector with ∇R. RE, REp8, RK: the same eigenvalue in draws of the sampled rungs."
    )
    head = (
        "epoch", "rank", "λ", "θ", *WHOLE_RUNGS, "law", "uᵀHu", "|Hu|", "overlap", "law", "with five", "classes",
        "gradient",
    )  # fmt: skip
    keys = ("spiked", "shift", "action", "overlap", "spiked_overlap", "span", "classes", "gradient")
    rows = []
    for epoch in bent:
        for rank, row in enumerate(epoch["whole"]["largest"]):
            drawn = (_drawn(epoch["whole"], rung, rank) for rung in WHOLE_RUNGS)
            own = [number(epoch["epoch"]), number(rank + 1), number(row["whole"]), number(row["gauss_newton"])]
            rows.append([*own, *drawn, *(number(row[key]) for key in keys)])
    missing = [note(f"Epoch {e['epoch']}: {e['whole']['left_out']}.") for e in bent if e["whole"]["left_out"]]
    shown = [table(head, rows, "numbers", "Outliers of H + G")] if rows else []
    return together([note(words), *missing, *shown])


def _drawn(made: Report, rung: str, rank: int) -> str:
    found: list[dict[str, Any]] = made["predictions"][rung]["tails"]["largest"]["positive"]
    if rank >= len(found):
        return number(None)
    return _rounded(found[rank], made["spectrum"]["rms"])


def _grams(epochs: list[Report]) -> Markup:
    words = (
        "Exact spectra from the Gram matrix K of the gradients ∇T: the tangent kernel over m, the "
        "Fisher matrix of the output law σ(T), and G. Largest: their first eigenvalues. As spread as: by how many "
        "equal ones the spectrum could be replaced, (tr)²/tr²."
    )
    head = ("epoch", "", "rank", "trace", "rms", "largest", "as spread as")
    names = {"tangent": "kernel / m", "fisher": "Fisher", "gauss_newton": "G"}
    rows = []
    for epoch in epochs:
        for key, name in names.items():
            one = epoch["whole"][key]
            top = numbers(*one["eigenvalues"][:SHOWN])
            cells = [number(one["trace"]), number(one["rms"]), top, number(one["participation"])]
            rows.append([number(epoch["epoch"]), name, number(one["rank"]), *cells])
    return note(words) + table(head, rows, "numbers", "Spectra from the Gram matrix")
