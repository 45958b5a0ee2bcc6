"""The page of a report and the words of its figures: rendered from made-up reports, checked for content."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.page import Page
from support.places import ROOT
from support.synthetic_report import CASES, CLAIMS, report
from validation.compare.answer import answer, failures
from validation.compare.captions.run import CAPTIONS, caption
from validation.compare.pages.report import render_html
from validation.report.markup import Section, captioned, number, page, prose, sentence, style, with_options
from validation.report.theory import PAPER, TOPICS, anchor, documentation, topic_of
from validation.report.verdicts import verdicts
from validation.statistics.estimate import plus_minus

PNG = b"\x89PNG\r\n\x1a\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_the_page_is_whole_and_refers_to_nothing_outside(case: str) -> None:
    html = render_html(report(case), dict.fromkeys(CAPTIONS, PNG))
    page = Page(html)
    assert html.count("data:image/png;base64,") == len(CAPTIONS)
    assert not re.search("&lt;(sup|sub|code|span)", html)  # numbers are markup, and escaped once
    assert not [outside for outside in ("http", "url(", "@import") if outside in html.replace(PAPER, "")]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    sources = [attrs["src"] or "" for _, attrs in page.tags if "src" in attrs]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert {tag for tag, attrs in page.tags if "href" in attrs} == {"a"}
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert ("Not finished." in page.text) == (not report(case)["complete"])


@every_case
def test_every_link_leads_somewhere_and_every_section_stands_in_the_contents(case: str) -> None:
    page = Page(render_html(report(case), dict.fromkeys(CAPTIONS, SVG)))
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(names)) == len(names)
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert {link for link in links if not link.startswith("#")} == {PAPER}
    assert {link[1:] for link in links if link.startswith("#")} <= set(names)
    assert {"#figures", "#verdicts", "#theory", "#recorded-epochs"} <= set(links)
    assert all(f"#{topic.target}" in links for topic in TOPICS if topic.name in ("facts", "circuits", "spectrum"))


def test_the_page_begins_with_the_answer_its_picture_and_where_it_fails() -> None:
    """The order of the page: before the first table with a claim there are all figures."""
    data = deepcopy(report("digits"))
    data["epochs"][-2]["predictions"]["RK"] |= {"l1": 0.4}
    html = render_html(data, dict.fromkeys(("spectrum", "headline"), SVG))
    said = f"{answer(data)}."
    assert "At epoch 20 the Hessian spectrum is predicted best by" in said
    assert said in Page(html).text
    places = [html.index(part) for part in (
        said, 'id="headline"', 'class="words standings"', "<nav", 'id="where-it-fails"', 'id="figures"',
        'id="spectrum"',
        'id="verdicts"', 'id="theory"', 'id="recorded-epochs"',
    )]  # fmt: skip
    assert places == sorted(places)
    (beyond,) = (text for text in failures(data) if text.startswith("Beyond L1 0.1 at epoch 20: "))
    assert "RK (Gram matrices of the layers), L1 0.4" in beyond
    assert beyond in Page(html).text
    assert "fig4b" in html[html.index('id="where-it-fails"') : html.index('id="figures"')]


def test_baselines_are_called_so_and_never_failed_claims() -> None:
    data = deepcopy(report("digits"))
    html = render_html(data)
    start = html.index('class="words standings"')
    rows = html[start : html.index("</table>", start)].split("<tr>")[2:]
    assert [("baseline" in row, "R0" in row or "R1" in row or "R2" in row) for row in rows] == [
        (False, False)] * (len(rows) - 3) + [(True, True)] * 3  # fmt: skip
    assert "L1 R0<br><small>baseline</small>" in html
    for epoch in data["epochs"]:
        epoch["predictions"] = {r: p for r, p in epoch["predictions"].items() if r == "R0"}
    assert "R0 (semicircle), L1" in answer(data)
    assert "a baseline, which makes no claim" in answer(data)
    assert not [text for text in failures(data) if "Beyond" in text]


def test_the_page_holds_every_claim_and_its_verdict() -> None:
    """Counts first, then what is not supported, then all behind a fold."""
    page = Page(render_html(report("digits")))
    tally = "supported: 2, not supported: 1, not applicable: 1"
    facts, claims = page.text.split(tally)
    for claim in CLAIMS:
        assert claim[0] in (facts.split("All 8 claims")[1] if claim[0][0] in "ESM" else claims)
        assert prose(claim[2]).striptags() in page.text
    assert "relative error ≤ 3.2×10−15" in page.text
    assert "Exact factsClaims under test\nholds4–supported–2not supported–1not applicable–1" in page.text
    before, _, _ = page.text.partition("All 8 claims")
    assert "The order parameter is a decade below the risk." in before
    assert "The spectrum is symmetric." not in before
    badges = Counter(attrs.get("class") for tag, attrs in page.tags if tag == "span")
    rows = Counter(claim[-1] for claim in CLAIMS)
    # Counts have one badge for each verdict; what is not supported stands alone and among all claims.
    assert badges["verdict bad"] == 1 + 2 * rows["not supported"]
    assert badges["verdict none"] == 1 + rows["not applicable"] + 3  # and three baselines


def test_a_claim_links_to_its_theory_in_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every topic names a heading that is there; a published documentation is linked, where one is known."""
    for topic in TOPICS:
        lines = (ROOT / "docs" / f"{topic.page}.md").read_text().splitlines()
        assert topic.heading in [line.lstrip("# ") for line in lines if line.startswith("#")]
    of = {"E1": "facts", "EM.tight": "learning", "eq20.k1": "brackets", "fig8a.prediction.R4w": "linearised",
          "fig8a.prediction.REp8": "sampled", "fig8a.prediction.R7m": "before", "fig8b.risk": "training",
          "structure.outliers": "facts", "M4.assemblies": "moments", "MC.marginal": "temperature"}  # fmt: skip
    topics = {claim: topic_of(claim) for claim in of}
    assert {claim: topic.name for claim, topic in topics.items() if topic is not None} == of
    assert topic_of("unheard of") is None
    assert anchor("The paper's brackets") == "the-paper-s-brackets"
    assert documentation(TOPICS[0]) is None
    known = SimpleNamespace(get_all=lambda _: ["Paper, https://a", "Documentation, https://docs.example/en/"])
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: known)
    place = "https://docs.example/en/theory/hessian.html#exact-facts"
    assert documentation(TOPICS[0]) == place
    assert f'<a href="{place}">' in render_html(report("digits"))


def test_sections_fold_and_their_links_open_them() -> None:
    """The target of a link stands inside the fold: browsers open what hides it."""
    html = page(
        "T", "k", [Section("", ["a"]), Section("Full tables", ["b"], folded=True), None, Section("Short", ["c"])]
    )
    assert '<a href="#full-tables">Full tables</a><a href="#short">Short</a>' in html
    assert re.search(r'<details><summary><h2>Full tables</h2></summary><div id="full-tables">b</div></details>', html)
    assert "details:not([open]){display:none}" in style()
    assert "<nav" not in page("T", "k", [Section("Short", ["c"])])


def test_the_page_tells_what_was_run_and_what_was_left_out() -> None:
    text = Page(render_html(report("digits"))).text
    for words in (
        "mlp:64x64x64",
        "12,352",
        "hinge",
        "numba",
        "float64",
        "seed 0",
        "1,437",
        "3.11.7",
        "R3 (arc-cosine kernels)",
        "weights are no longer at initialisation",
    ):
        assert words in text
    for prediction in report("digits")["epochs"][3]["predictions"].values():
        assert f"{prediction['l1']:.3f}" in text


def test_the_page_counts_eigenvalues_far_out() -> None:
    """Measured on either side and predicted, beyond every threshold; the largest; tails that were not predicted."""
    data = deepcopy(report("digits"))
    first = data["epochs"][0]["spectrum"]
    first["tails"]["negative"][1] = {"value": 24 / data["network"]["n_weights"], "standard_error": None}
    page = Page(render_html(data))
    for words in ("Tails and outliers", "beyond 16 rms", "76.2", "8.75", "17.5", "24", "largest, no. 5"):
        assert words in page.text
    if any("R4" in epoch["predictions"] for epoch in data["epochs"]):
        assert "tails only: a minute too long" in page.text
    for epoch in data["epochs"]:
        epoch["predictions"] = {}
    assert "Tails and outliers" not in Page(render_html(data)).text


def test_names_from_outside_cannot_become_markup() -> None:
    hostile = '<script>alert("1")</script>&{first}'
    data = deepcopy(report("digits"))
    data["dataset"].update(name=hostile, source=hostile, negative=[hostile], positive=[hostile])
    data["network"]["name"] = data["loss"] = data["backend"]["name"] = data["version"] = hostile
    data["options"] = data["environment"] = {hostile: hostile}
    data["claims"] = [
        dict.fromkeys(("id", "source", "claim", "measured", "expected", "verdict"), hostile) | {"exact": False}
    ]
    data["epochs"][0]["left_out"] = {hostile: hostile}
    data["epochs"][0]["predictions"][hostile] = data["epochs"][0]["predictions"]["R0"]
    page = Page(render_html(data, {"spectrum": PNG, hostile: PNG}))
    assert not any(tag == "script" for tag, _ in page.tags)
    assert page.text.count(hostile) > 15
    assert hostile not in verdicts(data["claims"], hostile)
    assert hostile not in captioned(hostile, hostile, SVG)


def test_a_page_without_epochs_says_so() -> None:
    page = Page(render_html({**report("digits"), "epochs": [], "claims": [], "complete": False}))
    assert "Recorded epochs: none." in page.text
    assert "No claim has been judged yet." in page.text


def test_figures_come_from_paths_too(tmp_path: Path) -> None:
    (tmp_path / "spectrum.png").write_bytes(PNG)
    by_path = render_html(report("digits"), {"spectrum": tmp_path / "spectrum.png"})
    assert by_path == render_html(report("digits"), {"spectrum": PNG})
    with pytest.raises(FileNotFoundError):
        render_html(report("digits"), {"spectrum": tmp_path / "absent.png"})


@every_case
@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_carry_the_numbers_of_the_report(case: str, name: str) -> None:
    words = caption(name, report(case))
    assert words.endswith(".")
    assert not [stray for stray in ("{", "nan", "None", "  ") if stray in words]


def test_captions_of_the_digits_run() -> None:
    data = report("digits")
    assert "from 1 to 0" in caption("risk_accuracy", data)
    assert "At epoch 40 no training example is active: there H is exactly 0" in caption("spectrum_overlay", data)
    assert "closest on average is R5 (measured signals)" in caption("spectrum", data)
    ratios = [0.1 * e["order_parameter"] / e["risk"] for e in data["epochs"][:-1]]
    assert f"{min(ratios):.2g} to {max(ratios):.2g} at the effective rate" in caption("order_parameter", data)


def test_without_momentum_there_is_one_rate() -> None:
    data = deepcopy(report("digits"))
    data["training"]["momentum"] = 0.0
    ratios = [0.01 * e["order_parameter"] / e["risk"] for e in data["epochs"][:-1]]
    assert caption("order_parameter", data).endswith(f"is {min(ratios):.2g} to {max(ratios):.2g}.")
    assert "effective" not in caption("order_parameter", data)


def test_the_aligned_share_is_told_at_both_ends() -> None:
    data = report("digits")
    for epoch in (data["epochs"][0], data["epochs"][-1]):
        assert f"{plus_minus(epoch['aligned'])} at epoch {epoch['epoch']} (random signs: ± 0.002)" in caption(
            "aligned_share", data
        )
    assert caption("aligned_share", report("no live circuit")).endswith("No circuit is live.")


def test_symmetry_is_told_in_numbers() -> None:
    """Captions name the most broken layer and how much of the gradient is 0; the page counts the tests that reject."""
    data = report("digits")
    worst = max((law["value"] - law["null"], e["epoch"]) for e in data["epochs"] for law in e["weight_symmetry"])
    assert f"Largest: {worst[0]:.2f} (layer 4, epoch {worst[1]})" in caption("weight_histograms", data)
    assert "0.1 at epoch 0, 0.1 at epoch 40" in caption("circuits", data)
    assert "every" not in caption("circuits", report("no live circuit"))
    assert "exactly 0" in caption("gradient_histograms", data)
    text = Page(render_html(data)).text
    kinds = data["symmetry_tests"]["kinds"]
    assert set(kinds) == {"weights", "gradient", "whole gradient", "circuits"}
    for kind, counts in kinds.items():
        assert f"{kind}{counts['tests']}{counts['rejected']}" in text
    assert (
        "Tests of symmetry"
        not in Page(render_html({**data, "symmetry_tests": {**data["symmetry_tests"], "tests": []}})).text
    )


def test_the_reason_for_a_zero_hessian_is_the_right_one() -> None:
    data = deepcopy(report("digits"))
    none, subset, dead = deepcopy(data["epochs"][-1]), deepcopy(data["epochs"][-1]), data["epochs"][-1]
    subset |= {"epoch": 60, "active_fraction": 0.007, "risk": 0.002}
    dead |= {"epoch": 80, "active_fraction": 0.5, "risk": 1.0, "dead_layers": 2}
    data["epochs"] = [data["epochs"][0], none, {**none, "epoch": 50}, subset, dead]
    words = caption("spectrum_overlay", data)
    assert "At epochs 40, 50 no training example is active; at epoch" in words
    assert "; at epoch 60 none of the 200 examples of the spectrum is active; at" in words
    assert "; at epoch 80 a layer is dead: there H is exactly 0" in words


def test_an_uncertain_measurement_is_said() -> None:
    data = deepcopy(report("no predictions"))
    for epoch in data["epochs"]:
        epoch["spectrum"]["l1_standard_error"] = 0.01
    for error, warned in ((0.0, False), (0.1, False), (0.34, True)):
        data["epochs"][1]["spectrum"]["l1_standard_error"] = error
        assert f"differ by an L1 of at most about {max(error, 0.01):.2g}: " in caption("spectrum", data)
        for name in ("spectrum", "prediction_error"):
            assert ("tells little of a prediction" in caption(name, data)) == warned
    assert "0.340" in Page(render_html(data)).text
    for without in (report("nothing active"), data):
        for epoch in without["epochs"]:
            epoch["spectrum"]["l1_standard_error"] = None
        assert "differ by" not in caption("spectrum", without)
        render_html(without)


def test_one_probe_has_the_standard_error_that_random_signs_allow() -> None:
    data = report("one probe")
    law = data["epochs"][0]["spectrum"]
    assert min(law["standard_error"]) > 0
    share = law["fraction_negative"]
    assert f"{number(share['value'])} ± {number(share['standard_error'], 2)}" in Page(render_html(data)).text
    assert "with 1 probe;" in caption("spectrum", data)


def test_the_summary_says_nothing_twice() -> None:
    summary = render_html(report("digits")).partition('id="figures"')[0]
    for words in ("0, 2, 4, 6, 8", "1,437", "360", "scikit-learn"):
        assert summary.count(words) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (12345, "12345"),
        (0.0, "0"),
        (-0.0123, "−0.0123"),
        (1.0, "1"),
        (1.1e-16, "1.1×10<sup>−16</sup>"),
        (-2.5e10, "−2.5×10<sup>10</sup>"),
        (1e-5, "10<sup>−5</sup>"),
        ("a < b", "a &lt; b"),
        ([1, "x"], "[1, &#34;x&#34;]"),
    ],
)
def test_numbers_read_well(value: object, shown: str) -> None:
    assert number(value) == shown


def test_names_that_run_leftwards_keep_their_labels() -> None:
    """Text between two such names, "; +1: ", would be shown in reverse, and the labels would change places."""
    said = "label -1: שלום עולם; +1: قط <b>"
    assert sentence(said) == "label -1: <bdi>שלום עולם</bdi>; +1: <bdi>قط</bdi> &lt;b&gt;"
    data = deepcopy(report("digits"))
    data["dataset"]["source"] = said
    assert "<bdi>قط</bdi>" in render_html(data)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("relative error ≤ 3.8e-16", "relative error ≤ 3.8×10<sup>−16</sup>"),
        ("relative error ≤ 0.0e+00", "relative error ≤ 0"),
        ("≤ 1e-10", "≤ 10<sup>−10</sup>"),
        (1e-12, "10<sup>−12</sup>"),
        ("λ_min < 0", "λ<sub>min</sub> &lt; 0"),
        ("⟨W_l, ∇_l R⟩ and θ_l", "⟨W<sub>l</sub>, ∇<sub>l</sub> R⟩ and θ<sub>l</sub>"),
        ("E||x_{l-1}||², n_l s_l²", "E‖x<sub>l−1</sub>‖², n<sub>l</sub> s<sub>l</sub>²"),
        ("∂²T/∂W_1∂W_(L-1), δ^kΨ", "∂²T/∂W<sub>1</sub>∂W<sub>L−1</sub>, δ<sup>k</sup>Ψ"),
        ("w_ab → -w_ab, (z_+)²", "w<sub>ab</sub> → −w<sub>ab</sub>, (z<sub>+</sub>)²"),
        ("H θ = (L-1) ∇R, s(11ᵀ - I)", "H θ = (L−1) ∇R, s(11ᵀ − I)"),
        ("-0.007 ± 0.014, n^(-1/2)", "−0.007 ± 0.014, n<sup>−1/2</sup>"),
        ("S1-S3 of --quick, mini-batches", "S1-S3 of --quick, mini-batches"),
        ("N^1.13, N^(1.6 ± 0.1)", "N<sup>1.13</sup>, N<sup>1.6 ± 0.1</sup>"),
        ("weights_0 of image_e-3 and a1e-5b", "weights_0 of image_e-3 and a1e-5b"),
    ],
)
def test_powers_and_indices_are_written_out(text: object, shown: str) -> None:
    assert prose(text) == shown


def test_a_tap_enlarges_a_figure_without_a_script() -> None:
    """On a narrow screen a figure fits, and a checkbox around it says whether it is enlarged."""
    html = captioned("spectrum", "A title (fig. 1). The rest.", PNG)
    assert re.search(
        r'<label class="zoom"><input type="checkbox" aria-label="enlarge"><img alt="A title \(fig. 1\).', html
    )
    narrow = style().partition("@media screen and (max-width:40rem)")[2].partition("@media print")[0]
    assert ".zoom input:checked+img{width:" in narrow


def test_options_do_not_break_at_their_hyphens() -> None:
    assert with_options("a < b: use --spectrum-examples 3") == "a &lt; b: use <code>--spectrum-examples</code> 3"
    data = deepcopy(report("digits"))
    data["epochs"][0]["left_out"] = {"R3": "raise --prediction-seconds"}
    assert "raise <code>--prediction-seconds</code>" in render_html(data)


def test_the_page_needs_no_matplotlib() -> None:
    code = "import sys, validation.compare.pages.report; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
