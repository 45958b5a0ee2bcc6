"""The words that go with a report's figures: captions with the report's own numbers, names of the rungs.

Nothing here draws, so that the page needs no matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from validation.predictions.rung import named
from validation.report.source import Report, Source, content
from validation.statistics.estimate import plus_minus

from .entries import ENTRY_CAPTIONS, entry_facts
from .whole import WHOLE_CAPTIONS

UNCERTAIN = 0.1  # the L1 that a prediction must stay below: a measurement less sure than that tests nothing
FORECAST = " Shaded: predicted before training by freshly drawn networks, from the least of them to the largest."
CAPTIONS = {
    "headline": (
        "The answer in one picture. The measured Hessian spectrum (black), the best prediction of it and the best "
        "baseline, at the last epoch with a prediction. Densities are smoothed with {eta} rms. L1 is the area between "
        "two densities within 4 rms: 0 where they are equal, at most 2."
    ),
    "risk_accuracy": (
        "Risk and accuracy (fig. 8b). Markers: all {examples} training examples at the recorded epochs{test}. "
        "Thin line: mean over the mini-batches of each epoch, taken while the weights move and drawn at the "
        "middle of the epoch.{forecast} From epoch {first} to {last} the risk goes from {risk_first} to {risk_last} "
        "and the accuracy from {accuracy_first} to {accuracy_last}."
    ),
    "order_parameter": (
        "Order parameter and risk (fig. 4b). The squared norm of the gradient times the learning rate {rate} "
        "is, to first order, the risk that one step of plain gradient descent removes.{effective} The paper finds it "
        "in proportion to the risk and about one decade below it (dotted).{forecast} Here the ratio to the risk is "
        "{ratio}."
    ),
    "spectrum": (
        "Hessian spectrum, measured and predicted (fig. 8a). Energies are in units of the rms eigenvalue; the "
        "axis is linear within 0.2 rms and logarithmic beyond. Black: measured by stochastic Lanczos "
        "quadrature on {spectrum_examples} examples with {probes}; what the last Lanczos step left unexplored "
        "is given a semicircle. Colours: predictions, as far out as the measured density; below each panel their "
        "ratio to it, with the measurement's standard error in grey. Numbers: L1 distances within 4 rms, both "
        "densities smoothed with {eta} rms, so a single eigenvalue far out is a spike of that width.{certainty} A good "
        "prediction has the peak at 0, the tails and the outliers. {best}"
    ),
    "tails": (
        "Far eigenvalues. How many lie beyond an energy, measured on either side (black) and as each prediction "
        "expects, mean of both sides. Both axes are logarithmic, energies are in units of the measured rms, and "
        "nothing is smoothed. The few largest eigenvalues, which a density hides, are seen here. Of a sampled rung: "
        "the mean over its draws."
    ),
    "structure_layers": (
        "Which layer's structure the spectrum sees. One layer at a time is drawn afresh, its weights (left) or its "
        "weights and its fields (right), while all others stay as they are. From above: L1 to the measured density, "
        "the distance of the laws of log|λ|, and the five largest eigenvalues, drawn over measured. The weights of the "
        "first and the last layer have no part in the Hessian of the hinge, and the last has no fields."
    ),
    "structure_directions": (
        "How much must be known of a network to know its spectrum. Norms of neurons (the leftmost points), then 1, 2, "
        "4, ... leading directions of the signals of every layer, on which the weights act as they do; the rest of the "
        "weights is drawn afresh. Abscissa: numbers known of the weights, over the number of weights; the signals are "
        "known as well. Above: L1 to the measured density. Below: the five largest eigenvalues on either side, "
        "predicted over measured. Dotted: what a sufficient description has to reach."
    ),
    **WHOLE_CAPTIONS,
    "spectrum_overlay": (
        "Hessian spectrum through training (fig. 8a as in the paper). Measured densities in absolute "
        "energies, each smoothed with {eta} of its own rms, one colour per epoch; the axis is linear around 0 "
        "and logarithmic beyond. As the risk goes from {risk_first} to {risk_last} the rms goes from "
        "{rms_first} to {rms_last}: as the risk vanishes the spectrum should collapse to 0.{zero}"
    ),
    "prediction_error": (
        "Error of each prediction. L1 distance (at most 2) between predicted and measured density. R0 to R6 "
        "predict mirror-symmetric densities, so none of them can get below half the distance of the measured one from "
        "its mirror image (grey). Sampled rungs can: a draw is not symmetric. Dashed: the standard error of the "
        "measurement, which is what two measurements like this one differ by. A prediction at that distance may be "
        "exact; a prediction beyond twice that distance is "
        "not.{uncertain} {best}"
    ),
    "symmetry": (
        "Broken symmetry of weights and gradient (figs. 3a, 4a). Each cell is half the integral of "
        "|p(w)−p(−w)| over the law of one layer, less the value for a symmetrised sample of the same size: "
        "near 0, or below, the law is symmetric; 1 is the most that can break. Grey: gradient exactly 0. "
        "Largest: weights {weights_most}; gradient {gradient_most}."
    ),
    "weight_histograms": (
        "Laws of the weights (fig. 3a). A panel per layer, a ridge per recorded epoch, in standard deviations of the "
        "law that the layer was drawn from. Grey: what a law has in common with its mirror image; orange and blue: "
        "the surplus of negative and of positive values; where a layer has few weights most of it is chance. Numbers: "
        "broken symmetry, as in the figure above, less its value for a symmetrised sample. Largest: {weights_most}; "
        "at the last epoch the median layer has {weights_median}.{outside}{weights_tests}"
    ),
    "circuits": "Laws of the circuits (fig. 3b). {circuits}",
    "aligned_share": (
        "Label-aligned share of the circuits (section II D). The sum of y T(x) over the {examples} training examples "
        "is that of all circuits x Ψ, each with its example's label; it is divided by the sum of their magnitudes, "
        "over all paths and exactly. At 0 circuits push for and against the labels in balance; at 1 every one pushes "
        "for them. Bars: two standard errors over the examples. Shaded: two standard deviations over random signs of "
        "the last layer's weights, all examples together; the share at initialisation is a draw of that law. Dotted: "
        "|T| in place of y T, how one-signed the circuits of one example are.{aligned}"
    ),
    "gradient_histograms": (
        "Laws of the gradient's entries (fig. 4a). Above: all entries, in units of their rms, by epoch; dotted: the "
        "mirror image; a straight fall would be a power law. {gradient_zeros} of the entries are exactly 0 (weights "
        "that no active example reaches), drawn nowhere. Below: layer by layer, as shares per unit of the axis, "
        "coloured like the weights, with the broken symmetry less its null. All entries: {gradient_range}; largest in "
        "a layer: {gradient_most}.{gradient_tests}"
    ),
}


def caption(name: str, report: Source) -> str:
    """What the figure `name` shows, as plain text with the report's numbers. `KeyError`: no such figure."""
    if name in ENTRY_CAPTIONS:
        return ENTRY_CAPTIONS[name].format_map(entry_facts(content(report)))
    return CAPTIONS[name].format_map(facts(content(report))).strip()


def facts(data: Report) -> dict[str, str]:
    """The numbers that captions mention, as text; at least one epoch must be recorded."""
    epochs: Sequence[Report] = data["epochs"]
    ends, training = {"first": epochs[0], "last": epochs[-1]}, data["training"]
    found = {
        "examples": f"{data['dataset']['examples']:,}",
        "forecast": FORECAST if any(e.get("forecast") for e in epochs) else "",
        "test": "; squares: the test set" if any(e["test_accuracy"] is not None for e in epochs) else "",
        "spectrum_examples": f"{data['dataset']['spectrum_examples']:,}",
        "probes": _count(max(len(e["spectrum"]["nodes"]) for e in epochs), "probe"),
        "eta": f"{data['eta']:g}",
        "rate": f"{training['learning_rate']:g}",
        **_rates(epochs, training["momentum"]),
        "zero": f" {zero} (arrow head)." if (zero := zero_spectra(data)) else "",
        "best": _best(epochs),
        **_certainty(epochs),
        "weights_most": _most(epochs, "weight_symmetry"),
        "gradient_most": _most(epochs, "gradient_symmetry"),
        "weights_median": _median(epochs[-1]["weight_symmetry"]),
        "outside": _outside(epochs),
        "circuits": _circuits(epochs),
        "aligned": _aligned(epochs),
        "gradient_zeros": _zeros(epochs),
        "gradient_range": _range([e["gradient_symmetry_all"] for e in epochs]),
        "weights_tests": _tests(data, "weights"),
        "gradient_tests": _tests(data, "gradient"),
    }
    for when, epoch in ends.items():
        found[when] = str(epoch["epoch"])
        found[f"rms_{when}"] = f"{epoch['spectrum']['rms']:.2g}"
        found |= {f"{key}_{when}": f"{epoch[key]:.3g}" for key in ("risk", "accuracy")}
    return found


def zero_spectra(data: Report) -> str:
    """A sentence, without its stop, on where H is exactly 0 and why; empty if it never is."""
    reasons: dict[str, list[int]] = {}
    for epoch in data["epochs"]:
        if epoch["spectrum"]["rms"] == 0:
            reasons.setdefault(_why_zero(epoch, data), []).append(epoch["epoch"])
    parts = [f"t epoch{'s' if len(at) > 1 else ''} {', '.join(map(str, at))} {why}" for why, at in reasons.items()]
    return f"A{'; a'.join(parts)}: there H is exactly 0{_silent(data)}" if parts else ""


def _silent(data: Report) -> str:
    """A clause on the epochs at which that was not measured again."""
    at = [record["epoch"] for record in data.get("silent", [])]
    if not at:
        return ""
    return f", as it is at epoch{'s' if len(at) > 1 else ''} {', '.join(map(str, at))}, not measured again"


def _why_zero(epoch: Report, data: Report) -> str:
    if epoch["active_fraction"] == 0:
        return "no training example is active"
    if epoch.get("dead_layers"):
        return "a layer is dead"
    # The risk may be above 0 on the examples that the spectrum does not look at.
    return f"none of the {data['dataset']['spectrum_examples']:,} examples of the spectrum is active"


def _certainty(epochs: Sequence[Report]) -> dict[str, str]:
    """How well the measured density is known, with a warning where that is too little to test a prediction."""
    errors = [e["spectrum"]["l1_standard_error"] for e in epochs if e["spectrum"]["rms"] > 0]
    known = [error for error in errors if error is not None]
    worst = max(known, default=0.0)
    warning = (
        f" A standard error of {worst:.2g} is more than {UNCERTAIN:g}: such a measurement tells little of a "
        "prediction. More probes or more Lanczos steps make it smaller."
    )
    uncertain = warning if worst > UNCERTAIN else ""
    test = (
        " Two measurements like this one, of the same network, differ by an L1 of at most about "
        f"{worst:.2g}: the standard error from the probes and from the Lanczos steps not made.{uncertain}"
    )
    return {"certainty": test if known else "", "uncertain": uncertain}


def _rates(epochs: Sequence[Report], momentum: float) -> dict[str, str]:
    """The ratio of order parameter and risk at the learning rate, and at the effective one that momentum makes."""
    plain, effective = _ratio(epochs, 1.0), _ratio(epochs, 1.0 / (1.0 - momentum))
    if momentum == 0.0:
        return {"effective": "", "ratio": plain}
    return {
        "effective": f" With momentum {momentum:g} a gradient that stays the same makes steps of "
        f"{1.0 / (1.0 - momentum):g} times the rate, the effective rate (squares), by which the claim is judged.",
        "ratio": f"{effective} at the effective rate, {plain} at the learning rate",
    }


def _ratio(epochs: Sequence[Report], scale: float) -> str:
    ratios = [scale * e["learning_rate"] * e["order_parameter"] / e["risk"] for e in epochs if e["risk"] > 0]
    return f"{min(ratios):.2g} to {max(ratios):.2g}" if ratios else "not defined, the risk being 0"


def _best(epochs: Sequence[Report]) -> str:
    """A sentence on the rung with the smallest mean L1."""
    distances: dict[str, list[float]] = {}
    for epoch in epochs:
        for rung, prediction in epoch["predictions"].items():
            distances.setdefault(rung, []).append(prediction["l1"])
    if not distances:
        return "No prediction was made at the recorded epochs."
    rung = min(distances, key=lambda r: sum(distances[r]) / len(distances[r]))
    low, high = min(distances[rung]), max(distances[rung])
    return f"The closest on average is {named(rung)}, with L1 from {low:.3f} to {high:.3f}."


def _sizes(laws: Sequence[Report]) -> list[float]:
    """Broken symmetry less its null, of the laws that have one."""
    return [law["value"] - (law["null"] or 0) for law in laws if law["value"] is not None]


def _median(laws: Sequence[Report]) -> str:
    sizes = _sizes(laws)
    return f"{median(sizes):z.2f}" if sizes else "none"


def _range(laws: Sequence[Report]) -> str:
    sizes = _sizes(laws)
    return f"{min(sizes):z.3f} to {max(sizes):z.3f}".replace("-", "−") if sizes else "not defined"


def _count_all(law: Report) -> int:
    counted = sum(map(sum, (law["positive"], law["negative"], law["below"], law["above"])))
    return int(counted + law["zeros"])


def _outside(epochs: Sequence[Report]) -> str:
    """A sentence on weights beyond the bins, where there are any."""
    edge = epochs[0]["weight_histograms"]["edges"][-1]
    shares = [
        (sum(law["above"]) / _count_all(law), layer, e["epoch"])
        for e in epochs
        for layer, law in enumerate(e["weight_histograms"]["layers"], 1)
    ]
    worst, layer, epoch = max(shares)
    if worst == 0:
        return ""
    return f" Beyond {edge:g} standard deviations lie at most {100 * worst:.2g} % (layer {layer}, epoch {epoch})."


def _zeros(epochs: Sequence[Report]) -> str:
    laws = [e["gradient_histograms"]["all"] for e in epochs]
    shares = [100 * law["zeros"] / _count_all(law) for law in laws]
    return f"{min(shares):.3g} to {max(shares):.3g} %"


def _tests(data: Report, kind: str) -> str:
    """A sentence on the tests of one kind, adjusted for their number."""
    counts = data["symmetry_tests"]["kinds"].get(kind)
    if not counts:
        return ""
    rate = 100 * data["symmetry_tests"]["level"]
    return (
        f" Symmetry is rejected in {counts['rejected']} of {_count(counts['tests'], 'test')} (false discovery rate "
        f"{rate:g} %), which takes entries for independent and says nothing of the size."
    )


def _circuits(epochs: Sequence[Report]) -> str:
    drawn = [e for e in epochs if e["circuits"]]
    if not drawn:
        return "None were drawn at these epochs."
    live = ", ".join(f"{e['circuits']['live']['value']:.2g} at epoch {e['epoch']}" for e in drawn)
    examples = _count(drawn[0]["circuits"]["examples"], "example")
    share = f"The share of circuits that are not 0, counted exactly at {examples}: {live}."
    orders = [(law, e["epoch"]) for e in drawn for law in e["circuits"]["orders"]]
    if not orders:
        return share
    laws = [law["symmetry"] for law in drawn[0]["circuits"]["orders"]]
    first = [f"{law['value'] - law['null']:z.3f}".replace("-", "−") for law in laws]
    count = f"{drawn[0]['circuits']['count']:,}"
    return (
        f"Positive (blue) and negative ones (orange) over one another, {count} of each order, "
        "drawn uniformly from those that are not 0, at examples of both classes in one heap: on all others some gate "
        "is off, or the input is 0. Order k lacks k of its weights. While the last weight is there and its law "
        "symmetric, the circuit's law is so exactly (S1); without it, up to the chance that a gate changes (S2, S3). "
        f"{share} Broken symmetry less its null at epoch {drawn[0]['epoch']}, by order: {', '.join(first)}."
    )


def _aligned(epochs: Sequence[Report]) -> str:
    """A sentence with the share at both ends, and its law at random signs."""
    live = [e for e in epochs if e["aligned"]["value"] is not None]
    shares = [
        f"{plus_minus(e['aligned'])} at epoch {e['epoch']} (random signs: ± {e['aligned']['chance']:.2g})"
        for e in live[:1] + live[1:][-1:]
    ]
    return f" All examples: {', '.join(shares)}." if shares else " No circuit is live."


def _most(epochs: Sequence[Report], key: str) -> str:
    cells = [
        (m["value"] - (m["null"] or 0), layer, e["epoch"])
        for e in epochs
        for layer, m in enumerate(e[key], 1)
        if m["value"] is not None
    ]
    return "{:z.2f} (layer {}, epoch {})".format(*max(cells)) if cells else "not defined"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
