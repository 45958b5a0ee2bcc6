"""Rungs R1 to R3: variance profiles, and the law of a perceptron at initialisation."""
