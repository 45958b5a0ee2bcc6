"""`python -m validation.scales`: is a network self-similar from its circuits to its eigenvalues?"""
