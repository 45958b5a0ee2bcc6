"""The theory of a claim: a note on the page, which the claim links to, and the part of the documentation."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass

PAPER = "https://arxiv.org/abs/2201.07934"
DISTRIBUTION = "umwelt-dnn"


@dataclass(frozen=True)
class Topic:
    """One note.

    name      the target of links
    claims    what names of its claims begin with; of several topics the longest such beginning decides
    title     of the part of the documentation, page (a file of docs/, without its ending) and heading
    states    what that part says, mathematics as `markup.prose` reads it
    """

    name: str
    claims: tuple[str, ...]
    title: str
    page: str
    heading: str
    states: str

    @property
    def target(self) -> str:
        return f"theory-{self.name}"


TOPICS = (
    Topic("facts", ("E", "structure.outliers", "stationary"), "Exact facts of the Hessian", "theory/hessian",
          "Exact facts",
          "T is linear in every W_l. So H has no block within a layer (E1), tr H = 0 (E2) and H θ = (L-1) ∇R (E3). A "
          "stationary point with H ≠ 0 is a strict saddle (E5). E4, E6, E7 and E8 follow in the same way."),
    Topic("circuits", ("S", "fig3", "gates"), "Laws of circuits", "theory/symmetry", "Laws of circuits",
          "A circuit Ψ is a product of weights and gates along a path. Its law is symmetric exactly if its last weight "
          "is (S1), and up to the chance that a gate changes otherwise (S2), which is (2/π) arctan(|x_a|/||x without "
          "a||) at Gaussian weights (S3)."),
    Topic("moments", ("M", "chaos"), "Moments of signals and outputs", "theory/symmetry",
          "Moments of signals and outputs",
          "Second moments grow by n_l s_l²/2 a layer (M1). Of a mean the gates take a factor ½ once (M2 to M4)."),
    Topic("brackets", ("eq20", "eq21"), "The paper's brackets", "theory/symmetry", "The paper's brackets",
          "The means (20) and mean squares (21) of assemblies are at most a constant times (c/2)^L + c^L n^(-Lµ/2), "
          "and the like for squares. There is no constant, so the claim is that measured/bracket does not grow."),
    Topic("order", ("fig4",), "The order parameter", "theory/circuits", "The order parameter",
          "||∇R||² is a sum over pairs of circuits that share the removed weight. Times the learning rate it is the "
          "risk that one step removes, to first order."),
    Topic("entries", ("fig6", "fig7"), "Entries of the Hessian", "theory/estimators", "Entries of the Hessian",
          "An entry is a sum of circuits without two of their weights. Laws, correlations and coupling sets are those "
          "over the examples, beside ∂²T itself and beside permuted labels."),
    Topic("hypotheses", ("theorem",), "What the theorem assumes", "entries", "What the theorem assumes",
          "Theorems on spectra of correlated random matrices want entries that depend on fewer than N^(1/2) others, "
          "and no entry of vanishing variance."),
    Topic("spectrum", ("fig8a",), "Symmetry of a spectrum", "theory/estimators", "Symmetry",
          "If the law of W_L is symmetric and c does not depend on W, the law of the spectrum is symmetric about 0 "
          "(E6). W1 to the mirror image, the third moment and the largest eigenvalues of either sign test it."),
    Topic("dyson", tuple(f"fig8a.prediction.R{k}" for k in "012"), "Rungs that see moments of H", "theory/ladder",
          "Rungs that see moments of H", "Baselines: laws that are given moments of H itself."),
    Topic("kernels", ("fig8a.prediction.R3",), "Kernels of wide networks", "theory/ladder", "Kernels of wide networks",
          "R3 knows the shape of a perceptron and its examples: covariances of the entries of H by "
          "arc-cosine kernels."),
    Topic("linearised", tuple(f"fig8a.prediction.R{k}" for k in "456"), "The linearised equations", "theory/ladder",
          "The linearised equations",
          "R4 to R6 solve equations for second moments of two kinds of tangent signals, at the signals of fresh "
          "networks (R4w, R4) or of the network itself (R5, R6)."),
    Topic("sampled", ("fig8a.prediction.RE", "fig8a.prediction.RK", "structure"), "Sampled rungs", "theory/ladder",
          "Sampled rungs",
          "RE to RK draw networks that share signals and gates with this one, or only Gram matrices of its layers, and "
          "have fresh weights: the spectrum is a mean over such draws."),
    Topic("before", ("fig8a.prediction.R7", "fig8b.forecast"), "Before training", "theory/ladder", "Before training",
          "R7 lets freshly drawn networks follow their tangent kernels through the schedule; R7m reads the kernels "
          "again on the way. Nothing of the trained network enters."),
    Topic("whole", ("whole",), "The spectrum of the whole", "whole", "The spectrum of the whole",
          "A loss with a curvature adds the Gauss-Newton part G, whose spectrum follows exactly from the gradients of "
          "the outputs. H + G is predicted by drawn H with the G of the same signals."),
    Topic("training", ("fig8b",), "Losses", "theory/model", "Losses",
          "The risk is the mean loss of the margins y T(x). Examples with c_i ≠ 0 are active; without one the gradient "
          "and H are 0."),
    Topic("sums", ("eq10",), "Circuits and assemblies", "theory/circuits", "Circuits and assemblies",
          "The output is the sum of all circuits x Ψ over paths (10), (11). A sum of circuits is an assembly."),
    Topic("temperature", ("eq8", "MC.marginal"), "Temperature", "theory/model", "Temperature",
          "At temperature 0 the gates are 1[z > 0] and the marginal is that of the ReLU network (7), (8)."),
    Topic("thermal", ("eq7.layer", "eq9", *(f"gates.{name}" for name in (
          "most_probable", "bound", "rise", "likelihood", "energy", "entropy", "free_energy", "order", "search",
          "sampled"))), "Gates at a temperature", "theory/gates", "Gates at a temperature",
          "A layer given the gates below is a Boltzmann law of energy -z·h, with U - T S = -T log Z (F1), and so are "
          "pools that choose (F4). The bound at the ReLU gates is log µ(y,h|x), which other gates may exceed (F5)."),
    Topic("learning", ("EM", "MC.gradient", "split"), "Learning as expectation-maximisation", "theory/model",
          "Learning as expectation-maximisation",
          "For any law of the gates the bound is at most log µ(y|x), with equality for the posterior. Exact EM never "
          "lowers the likelihood, and the risk is the entropy of the labels and a divergence."),
)  # fmt: skip


def topic_of(claim: str) -> Topic | None:
    """The topic whose claims begin so; None for a claim of another kind."""
    found = [(len(start), topic) for topic in TOPICS for start in topic.claims if claim.startswith(start)]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def address(claim: str) -> str | None:
    """The link of a claim to the note on its theory."""
    topic = topic_of(claim)
    return None if topic is None else f"#{topic.target}"


def topics_of(claims: Iterable[str]) -> dict[Topic, list[str]]:
    """The topics of claims, in their order, each with its claims."""
    named = [(claim, topic_of(claim)) for claim in claims]
    return {topic: rest for topic in TOPICS if (rest := [claim for claim, of in named if of is topic])}


def documentation(topic: Topic) -> str | None:
    """The address of its page, where the installed distribution names its documentation; None where it does not."""
    try:
        urls = importlib.metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    base = next((url.partition(", ")[2] for url in urls if url.lower().startswith("documentation, ")), "")
    return f"{base.rstrip('/')}/{topic.page}.html#{anchor(topic.heading)}" if base.startswith("https://") else None


def anchor(heading: str) -> str:
    """The target of a heading, as the documentation is built."""
    return "-".join("".join(c if c.isalnum() else " " for c in heading.lower()).split())
