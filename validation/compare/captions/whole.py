"""The words that go with the figures of a run with --whole."""

from __future__ import annotations

WHOLE_CAPTIONS = {
    "whole_spectrum": (
        "Spectrum of the whole: H + G. Black: measured by stochastic Lanczos quadrature, with its standard error. "
        "Grey: the residual part H alone, which the paper calls the Hessian in a decomposed form and whose spectrum "
        "fig. 8a shows. Blue: the Gauss-Newton part G alone, exactly, from the Gram matrix of the gradients. Dashed "
        "and green: H drawn by a sampled rung, with the G of the same signals. Energies are in units of the rms of H + "
        "G. Numbers: L1 to the measured density; free: free sum of the measured H and of G, which knows nothing of how "
        "their eigenvectors lie."
    ),
    "whole_largest": (
        "Outliers of the whole. Left: the five largest eigenvalues of H + G over those of G, by epoch; on the dotted "
        "line they are the same. Hollow: where they would be if G's directions knew nothing of H. Middle: squared "
        "overlap of the first eigenvector of H + G with that of G, and with five of G; dotted: the overlap that the "
        "law of spikes gives; blue: how much of G's first eigenvector the mean gradients of the two classes span. "
        "Right: the largest eigenvalue of H + G as the sampled rungs draw it, over the measured one, with standard "
        "errors over draws."
    ),
    "gram_spectra": (
        "Spectra from the Gram matrix of the gradients, exact, by rank and epoch. Left: the tangent kernel over the "
        "number of examples. Middle: the Fisher matrix of the output law. Right: the Gauss-Newton part of the loss, "
        "which is the Fisher matrix for the logistic loss, and 0 for the hinge. All other eigenvalues of these "
        "matrices of weights × weights are 0."
    ),
}
