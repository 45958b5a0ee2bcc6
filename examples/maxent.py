"""
Maximum entropy
===============

The maximum-entropy law of a layer of gates, :eq:`1` to :eq:`3`, found again from its couplings.
"""

from __future__ import annotations

import numpy as np

from simulator import InfeasibleError, solve_maxent

rng = np.random.default_rng(0)
m, n0, n1, n2 = 400, 2, 3, 2
x = rng.normal(size=(m, n0))
h1 = rng.integers(0, 2, (m, n1)).astype(float)

# %%
# A hidden law of order 3: logits are sums over triples x_{i0} h_{i1} h_{i2} with multipliers that we then forget.
hidden = rng.normal(size=(n0, n1, n2))
features = (x[:, :, None] * h1[:, None, :]).reshape(m, -1)
probability = 1 / (1 + np.exp(-features @ hidden.reshape(-1, n2)))
couplings = (features.T @ probability / m).reshape(n0, n1, n2)

law = solve_maxent([x, h1], couplings)
print(f"{law.status}; residual {law.residual:.1e}; entropy {law.entropy:.4f} nats an example")
print(f"largest error of the recovered multipliers: {np.abs(law.multipliers - hidden).max():.1e}")

# %%
# Couplings that no law has, and couplings on the boundary, are told apart before anything is solved.
try:
    solve_maxent([x, h1], 10 * couplings)
except InfeasibleError as error:
    print(f"ten times the couplings: {error}")

frozen = (features @ hidden.reshape(-1, n2) > 0).astype(float)
edge = solve_maxent([x, h1], (features.T @ frozen / m).reshape(n0, n1, n2))
print(f"couplings of gates that never err (zero temperature): converged {edge.converged}; {edge.status}")
