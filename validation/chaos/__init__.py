"""`python -m validation.chaos`: correlations of two inputs through training, over the gain of the initial weights."""
