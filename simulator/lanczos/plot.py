"""A measured spectrum as a picture; matplotlib is imported when one is asked for."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .density import SpectralDensity

LINEAR = 0.2  # rms around 0 within which the energy axis is linear
POINTS = 400  # energies on either side of 0
REACH = 1.25  # of the outermost node, up to which energies go


def plot_density(spectrum: SpectralDensity, ax: Any, eta: float) -> Any:
    """See `SpectralDensity.plot`."""
    if not eta > 0:
        raise ValueError(f"eta {eta!r} is not usable: give a half width > 0, in units of the rms eigenvalue")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")[1]
    ax.set_xlabel("E / rms")
    ax.set_ylabel(rf"density $\times$ rms ($\eta$ = {eta:g} rms)")
    rms = spectrum.rms
    if rms == 0.0:
        ax.text(0.5, 0.5, "every eigenvalue is 0", ha="center", va="center", transform=ax.transAxes)
        return ax
    reach = max(4.0, REACH * float(np.max(np.abs(spectrum.nodes))) / rms)
    half = LINEAR * np.sinh(np.linspace(0.0, np.arcsinh(reach / LINEAR), POINTS))
    energies = np.concatenate([-half[:0:-1], half])
    density, error = (rms * values for values in spectrum.terminated_density(energies * rms, eta * rms))
    ax.fill_between(energies, np.maximum(density - error, 1e-3 * density), density + error, alpha=0.3, linewidth=0)
    ax.plot(energies, density, linewidth=1.1)
    ax.set_xscale("symlog", linthresh=LINEAR)
    ax.set_yscale("log")
    ax.set_xlim(-reach, reach)
    return ax


def html_of(spectrum: SpectralDensity) -> str:
    """The `repr` of a spectrum above its picture, as a notebook shows it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    plot_density(spectrum, figure.subplots(), 0.05)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    picture = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<pre style="white-space: pre-wrap">{html.escape(repr(spectrum))}</pre>'
        f'<img alt="the smoothed spectrum, plus and minus one standard error" src="data:image/png;base64,{picture}">'
    )
