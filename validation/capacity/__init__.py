"""`python -m validation.capacity`: the largest number of examples that a network fits."""
