"""Symmetry theorems S1-S3, moment theorems M1-M4, and the brackets of the bounds (20) and (21)."""
