"""Random ensembles that share signals, or their Gram matrices, with a network: draws of them are Hessian operators."""
