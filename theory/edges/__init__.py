"""Beyond the bulk: tails, edges of the support, and outliers."""
