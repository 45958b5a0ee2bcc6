"""What a page says of gates drawn at a temperature: averages with their errors, beside the ReLU network."""

from __future__ import annotations

from validation.report.markup import Section, note, number, prose, sentence, table
from validation.report.source import Report
from validation.statistics.estimate import written

OUTPUTS = ("epoch", "risk", "of ReLU gates", "accuracy", "by µ(y|x)", "log µ(y|x)", "draws that count")
SLOPES = ("epoch", "||E ∇R||²", "of ReLU gates", "E||∇R − E ∇R||²", "rms of a set", "rms of the mean")
LAWS = {
    "forward": "the forward law µ(h|x) of the gates",
    "posterior": "the posterior µ(h|x,y) of the gates, by importance sampling,",
}


def stochastic_section(data: Report) -> Section | None:
    """A row for every recorded epoch; nothing for a run at temperature 0."""
    epochs = [e for e in data["epochs"] if e.get("stochastic")]
    if not epochs:
        return None
    made = epochs[0]["stochastic"]
    ends = epochs if len(epochs) == 1 else [epochs[0], epochs[-1]]
    layers = "; ".join(f"{_layers(e['stochastic'])} at epoch {e['epoch']}" for e in ends)
    words = (
        f"Gates are drawn at temperature {made['temperature']:g}, P(h = 1) = σ(z/T), and max-pools draw a site of each "
        f"window (F4). Averages over {LAWS[made['law']]} of {made['sets']} sets of {made['samples']} draws, with the "
        "standard error of the draws. The spectrum is that of the Hessian averaged over a set, a set of its own for "
        "every probe; predictions start from the signals of the first set. rms of the mean: without what differs from "
        "set to set. Draws that count: the effective size of a set as a sample of the posterior of the gates. By "
        "µ(y|x): the accuracy of the mean over draws. Alignment and circuits are of ReLU gates, and are not measured. "
        f"Temperatures of the layers in the paper's convention W = Ŵ/T: {layers}."
    )
    tables = (
        table(map(prose, OUTPUTS), map(_outputs, epochs), "numbers", "Averages over drawn gates"),
        table(map(prose, SLOPES), map(_slopes, epochs), "numbers", "Gradient and Hessian of drawn gates"),
    )
    return Section("Gates at a temperature", [note(sentence(words)), *tables], folded=True)


def _outputs(epoch: Report) -> list[str]:
    seen = epoch["stochastic"]
    return [
        number(epoch["epoch"]), written(seen["risk"]), number(seen["relu"]["risk"]), written(seen["accuracy"]),
        number(seen["marginal_accuracy"]), written(seen["log_likelihood"]), number(seen["effective_samples"]),
    ]  # fmt: skip


def _slopes(epoch: Report) -> list[str]:
    seen = epoch["stochastic"]
    scale = seen.get("scale")
    scales = ("–", "–") if scale is None else (written(scale["of_a_set"]), written(scale["of_the_mean"]))
    squares = (
        written(seen["order_parameter"]),
        number(seen["relu"]["order_parameter"]),
        number(seen["gradient_noise"]),
    )
    return [number(epoch["epoch"]), *squares, *scales]


def _layers(seen: Report) -> str:
    return ", ".join("–" if t is None else f"{t:.2g}" for t in seen["layer_temperatures"])
