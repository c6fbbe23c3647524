"""Evaluation: resumable runs over a data set, reports, and sweeps over settings."""
