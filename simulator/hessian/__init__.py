"""The Hessian of the empirical risk: the operator, and chosen entries of it."""
