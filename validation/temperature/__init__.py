"""`python -m validation.temperature`: one network with its gates drawn at temperatures from 0 up."""
