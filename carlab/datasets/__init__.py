"""Data sets in their official folder layouts; see `load_dataset`."""

from carlab.datasets.protocol import IGNORE, Dataset, Pass, Sample
from carlab.datasets.registry import DATASETS, load_dataset

__all__ = ["DATASETS", "IGNORE", "Dataset", "Pass", "Sample", "load_dataset"]
