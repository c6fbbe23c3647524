"""Hooks: record and edit any probe, measure the cost of a run, watch its progress."""

from carlab.hooks.recording import Recording as Recording
from carlab.hooks.recording import as_numpy as as_numpy
from carlab.hooks.recording import charge as charge
from carlab.hooks.recording import collect as collect
from carlab.hooks.recording import count as count
from carlab.hooks.recording import edit as edit
from carlab.hooks.recording import measure as measure
from carlab.hooks.recording import open_edits as open_edits
from carlab.hooks.recording import probe as probe
from carlab.hooks.recording import progress as progress
from carlab.hooks.recording import record as record
from carlab.hooks.recording import recorded_patterns as recorded_patterns
from carlab.hooks.recording import timed as timed
from carlab.hooks.recording import watching as watching
from carlab.hooks.table import PROBES as PROBES
from carlab.hooks.table import ProbeInfo as ProbeInfo
from carlab.hooks.table import check_patterns as check_patterns
