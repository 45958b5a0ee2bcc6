"""`python -m validation.stationary`: a search for stationary points from many points of a training."""
