"""Metrics as sums of small counts, each with its protocol; NumPy only."""
