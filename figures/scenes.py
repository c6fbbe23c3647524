"""What all figures are drawn from: runs of the offline backbone (not CLIP) on public-domain images."""

from functools import cache

from skimage import data

import carlab
from carlab.cli.demo import QUERIES
from carlab.trace import Trace

NAMES = tuple(QUERIES)


@cache
def photo(source: str) -> carlab.Photo:
    """Return one of scikit-image's images, with its cache: all figures share what is computed."""
    return carlab.Photo.of(getattr(data, source)())


@cache
def model() -> carlab.ClipAsRnn:
    """Return the offline preset."""
    return carlab.load("offline")


@cache
def trace(source: str, **settings: object) -> Trace:
    """Return the run on an image with the queries of the demo, and with settings changed by name."""
    return carlab.change(model(), **settings)(photo(source), QUERIES[source][1])
