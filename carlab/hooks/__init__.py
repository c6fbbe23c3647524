"""Hooks: record and edit any probe, measure the cost of a run, watch its progress."""

from carlab.hooks.recording import (
    Recording,
    as_numpy,
    charge,
    collect,
    count,
    edit,
    measure,
    open_edits,
    probe,
    progress,
    record,
    recorded_patterns,
    timed,
    watching,
)
from carlab.hooks.table import PROBES, ProbeInfo, check_patterns

__all__ = [
    "PROBES",
    "ProbeInfo",
    "Recording",
    "as_numpy",
    "charge",
    "check_patterns",
    "collect",
    "count",
    "edit",
    "measure",
    "open_edits",
    "probe",
    "progress",
    "record",
    "recorded_patterns",
    "timed",
    "watching",
]
