"""
Maximum entropy
===============

The maximum-entropy law of a layer of gates, :eq:`1` to :eq:`3`, found again from its couplings.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
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

# %%
# On the way from the first couplings to these the multipliers grow without bound, and the entropy goes to 0.
shares = np.append(np.linspace(0, 0.9, 10), [0.95, 0.98, 0.99, 0.995])
limit = (features.T @ frozen / m).reshape(n0, n1, n2)
laws = [solve_maxent([x, h1], (1 - share) * couplings + share * limit) for share in shares]
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(1 - shares, [np.abs(law.multipliers).max() for law in laws], "o-", label="largest multiplier")
ax.plot(1 - shares, [law.entropy for law in laws], "s-", label="entropy (nats)")
ax.set(xscale="log", yscale="log", xlabel="distance from the boundary, as a share of the way")
ax.invert_xaxis()
ax.legend(frameon=False)
plt.show()
