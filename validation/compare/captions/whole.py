"""The words that go with the figures of a run with --whole."""

from __future__ import annotations

WHOLE_CAPTIONS = {
    "whole_spectrum": (
        "Spectrum of the whole: H + G. How many eigenvalues lie beyond an energy; both axes are logarithmic, energies "
        "in units of the rms of H + G, and nothing is smoothed. Black: H + G, measured by stochastic Lanczos "
        "quadrature, on the positive side and, dotted, on the negative one. Grey: the residual part H alone, which the "
        "paper calls the Hessian in a decomposed form and whose spectrum fig. 8a shows. Blue: the Gauss-Newton part G "
        "alone, exactly, from the Gram matrix of the gradients. Green and dashed: H drawn by a sampled rung, with the "
        "G of the same signals, on the positive side. Marks: the five largest at their rank (dots: measured)."
    ),
    "whole_largest": (
        "Outliers of the whole. The five largest eigenvalues of H + G at every epoch, against those of G in units of "
        "the largest of H. Left: their ratio; on the dotted line they are the same. Middle: the share of their "
        "eigenvectors in the first five of G. Hollow: the law of spikes, which holds for directions of G that know "
        "nothing of H. Right: the largest eigenvalue of H + G as the sampled rungs draw it, over the measured one, "
        "with standard errors over draws."
    ),
    "gram_spectra": (
        "Spectra from the Gram matrix of the gradients, exact, by rank and epoch. Left: the tangent kernel over the "
        "number of examples. Middle: the Fisher matrix of the output law. Right: the Gauss-Newton part of the loss, "
        "which is the Fisher matrix for the logistic loss, and 0 for the hinge. All other eigenvalues of these "
        "matrices of weights × weights are 0."
    ),
}
