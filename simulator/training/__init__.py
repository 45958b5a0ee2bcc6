"""Training: stochastic gradient descent, the E-step, and learning as expectation-maximisation."""
