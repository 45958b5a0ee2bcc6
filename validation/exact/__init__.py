"""`python -m validation.exact`: small cases where every sum over gate configurations is done."""
