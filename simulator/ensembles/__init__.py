"""Random ensembles that share coarse-grained signals with a network: draws of them are Hessian operators."""
