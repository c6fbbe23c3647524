"""Data sets in their official folder layouts; see `load_dataset`."""

from carlab.datasets.protocol import IGNORE as IGNORE
from carlab.datasets.protocol import Dataset as Dataset
from carlab.datasets.protocol import Pass as Pass
from carlab.datasets.protocol import Sample as Sample
from carlab.datasets.registry import DATASETS as DATASETS
from carlab.datasets.registry import load_dataset as load_dataset
