"""`python -m validation.bounds`: every symmetry theorem and moment bound put to the test."""
