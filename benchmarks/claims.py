"""The paper, claim by claim: a page of verdicts made from reports that are there.

    python benchmarks/claims.py NAME=REPORT.json [NAME=REPORT.json ...] --exact REPORT.json --out docs/paper/claims.md

Every equation of the paper is listed with the claims and checks that judge it; every claim with its verdict in the
reports of each name, and every check of `validation.exact`. What nothing judges is listed as such.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Verdicts = Mapping[str, Mapping[str, str]]
EQUATIONS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("1-3", "enclosed maximum entropy and its solution", ("eq1.couplings", "eq2.multipliers"), "`validation.maxent`"),
    (
        "4-6",
        "hierarchical parameterisation",
        ("eq4.chain", "eq4.divergence", "eq4.loss", "MC.marginal"),
        "`validation.maxent`, `exact`",
    ),
    ("7, 8", "gates at temperature 0: the ReLU network", ("eq8", "eq7.layer"), "`validation.exact`, `gates`"),
    (
        "9",
        "free energy of a physical system",
        ("eq9.layer", "eq9.chain.exact", "eq9.gibbs.exact", "gates.free_energy.T1.exact", "gates.free_energy.T1"),
        "`validation.gates`",
    ),
    ("10, 11", "the output as a sum over basis circuits", ("eq10",), "`validation.exact`"),
    ("12", "hinge risk", ("fig8b.risk",), "`validation.compare`"),
    ("13", "gradient flow", ("EM.cold", "EM.fisher"), "`validation.exact`"),
    ("14", "circuit symmetry", ("S1", "S2", "S3", "S3.exponent", "fig3b.symmetry"), "`validation.compare`, `bounds`"),
    (
        "15, 16",
        "plasticity order parameter",
        ("fig4b.proportional", "fig4b.decade", "novel.jump", "novel.decay", "novel.zero"),
        "`validation.compare`, `validation.novel`",
    ),
    ("17", "order parameter of a spin glass", (), "quoted by the paper for comparison; nothing is judged"),
    ("18", "second-order change of the risk: the Hessian", ("E1", "E2", "E3"), "`validation.compare`"),
    ("19", "its mark is lost", (), "nothing is judged"),
    (
        "20",
        "bound on the mean of an assembly",
        ("eq20.intact", "eq20.k0", "eq20.k1", "eq20.k2"),
        "`validation.compare`",
    ),
    ("21", "bound on the mean square of an assembly", ("eq21.k0", "eq21.k1", "eq21.k2"), "`validation.compare`"),
)
NOTHING = "not applicable"  # another report of the same name may have a verdict
PARTS: dict[str, str | tuple[str, ...]] = {
    "Figure 3: weights and circuits": "fig3",
    "Figure 4: gradient and order parameter": "fig4",
    "Figures 6 and 7: entries of the Hessian": ("fig6", "fig7", "theorem."),
    "Figure 8: spectrum, risk": "fig8",
    "Novel examples": "novel.",
    "From circuits to eigenvalues": "scales.",
    "From couplings to a network": ("maxent.", "eq1.", "eq2.", "eq4."),
    "Signals and circuits: theorems and moments": ("M", "S"),
    "Bounds (20) and (21)": ("eq20", "eq21"),
    "Gates at a temperature": ("gates.", "eq7.", "eq9."),
    "Temperature in training and spectrum": "temperature.",
    "Exact facts of the Hessian": "E",
    "The edge of capacity": "capacity",
    "Stationary points that were looked for": "stationary.",
    "Edge of chaos": "chaos.",
}


def read(path: Path) -> dict[str, dict[str, str]]:
    """Claims or checks of a report by their ids."""
    report: dict[str, Any] = json.loads(path.read_text())
    return {one["id"]: one for one in report.get("claims", report.get("checks", []))}


def verdict(name: str, reports: Mapping[str, Verdicts]) -> str:
    """The verdicts on a claim in all reports that judge it."""
    found = [f"{where}: {judged[name]['verdict']}" for where, judged in reports.items() if name in judged]
    return "; ".join(found) or "not judged in these runs"


def equations(reports: Mapping[str, Verdicts]) -> list[str]:
    lines = ["| equation | what it is | judged by | verdicts |", "|---|---|---|---|"]
    for number, what, ids, where in EQUATIONS:
        said = "<br>".join(f"`{one}`: {verdict(one, reports)}" for one in ids) or "–"
        lines.append(f"| ({number}) | {what} | {where} | {said} |")
    return lines


def part(prefix: str | tuple[str, ...], reports: Mapping[str, Verdicts]) -> list[str]:
    """The claims whose ids begin with `prefix`: in words, verdict and number of every report."""
    names = list(dict.fromkeys(name for judged in reports.values() for name in judged if name.startswith(prefix)))
    shown = {where: judged for where, judged in reports.items() if any(name in judged for name in names)}
    lines = [f"| claim | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for name in names:
        words = next(judged[name]["claim"] for judged in shown.values() if name in judged)
        cells = [_cell(judged.get(name)) for judged in shown.values()]
        lines.append(f"| `{name}`: {_plain(words)} | {' | '.join(cells)} |")
    return lines


def _cell(one: Mapping[str, str] | None) -> str:
    return "–" if one is None else f"**{one['verdict']}**<br>{_plain(one['measured'] or '')}"


def _plain(words: str) -> str:
    """Words of a report inside a table of Markdown."""
    return words.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("<", "&lt;")


def page(compared: Mapping[str, Verdicts], exact: Verdicts) -> str:
    counts = {name: _counts(judged) for name, judged in compared.items()}
    lines = [
        "# The paper, claim by claim",
        "",
        "Every equation, figure and claim of {cite:t}`Li2022` that something here judges, with its verdict. *Holds* is",
        "an exact fact, to rounding. *Supported* and *not supported* are decided by the standard error. *Not resolved*",
        "is not: the error is too large. What no command judges is listed in the README.",
        "",
        *[f"- **{name}**: {said}." for name, said in counts.items()],
        "",
        "The page is made from these reports by `python benchmarks/claims.py`.",
        "",
        "## Equations",
        "",
        *equations({**compared, "small networks": exact}),
    ]
    for title, prefix in PARTS.items():
        if any(name.startswith(prefix) for judged in compared.values() for name in judged):
            lines += ["", f"## {title}", "", *part(prefix, compared)]
    lines += ["", "## Small networks, summed over all gates", "", *part("", {"`validation.exact`": exact}), ""]
    return "\n".join(lines)


def _counts(judged: Verdicts) -> str:
    verdicts = [one["verdict"] for one in judged.values()]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(sorted(verdicts)))


def main(words: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("reports", nargs="+", help="NAME=REPORT.json of any command; those of one name share a column")
    p.add_argument("--exact", type=Path, required=True, help="report.json of validation.exact")
    p.add_argument("--out", type=Path, required=True)
    chosen = p.parse_args(words)
    named: dict[str, dict[str, dict[str, str]]] = {}
    for one in chosen.reports:
        name, path = one.split("=", 1)
        known, found = named.setdefault(name, {}), read(Path(path))
        known |= {key: claim for key, claim in found.items() if claim["verdict"] != NOTHING or key not in known}
    chosen.out.write_text(page(named, read(chosen.exact)))


if __name__ == "__main__":
    main()
