"""Hundreds of images and queries in one process: what the caches really hold stays below their limits."""

import gc
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch

from carlab import cache as caches
from carlab.backbones.base import cached_embeddings
from carlab.batch import Job, Request, run_many
from carlab.cache import Cache
from carlab.figures.layers import layer_picture
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.stages import crf_torch, regions
from carlab.stages.filter import Threshold
from carlab.stages.refiner import DenseCrf
from carlab.stages.regions import RegionMatch, Superpixels

MANY = 300
PHOTO, TEXTS, SHARED = 2**20, 2**14, 2**17
"""Limits in bytes, so small that all of them are reached."""
ALLOWED = 1.25
"""Values may grow a little while they are stored: a prompted image gets its embedding."""


def buffers(value: Any) -> Iterator[tuple[int, int]]:
    """Address and bytes of all memory that a value keeps alive: of a view, that of the array it looks at."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
    elif isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        yield value.ctypes.data, value.nbytes
    elif isinstance(value, Cache):
        return  # counted by itself
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from buffers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from buffers(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from buffers(getattr(value, field.name))


def held(cache: Cache) -> int:
    return sum(dict(buffers(list(cache._values.values()))).values())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> WeakSet[Cache]:
    """Every cache that is made from now on."""
    made: WeakSet[Cache] = WeakSet()
    original = Cache.__init__

    def create(self: Cache, limit: int = PHOTO) -> None:
        original(self, limit)
        made.add(self)

    monkeypatch.setattr(Cache, "__init__", create)
    return made


@pytest.fixture
def model(tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> ClipAsRnn:
    """The tiny model with a CRF in torch, matched to regions, and every cache of the package made small."""
    shared = [(crf_torch, "_smoothness"), (regions, "_cache"), (layers_module(), "_SHRUNK")]
    for module, name in shared:
        monkeypatch.setattr(module, name, Cache(SHARED))
    f, g = (replace(one.backbone, texts=Cache(TEXTS)) for one in (tiny.proposer, tiny.classifier))
    return replace(
        tiny,
        proposer=replace(tiny.proposer, backbone=f),
        classifier=replace(tiny.classifier, backbone=g),
        filter=Threshold(0.3, keep_best=True),
        refiner=RegionMatch(DenseCrf(iterations=1, engine="torch"), Superpixels(scales=(50.0,))),
        max_steps=1,
    )


def layers_module() -> Any:
    from carlab.figures import layers

    return layers


def check(watched: WeakSet[Cache]) -> dict[int, int]:
    """Return the most that a cache with each limit holds."""
    most: dict[int, int] = {}
    for one in list(watched):
        limit = int(one._values.maxsize)
        most[limit] = max(most.get(limit, 0), held(one))
    for limit, size in most.items():
        assert size <= ALLOWED * limit, (limit, size)
    return most


def test_many_images_with_other_queries(watched: WeakSet[Cache], model: ClipAsRnn) -> None:
    random = np.random.default_rng(0)

    def jobs() -> Iterator[Job]:
        for k in range(MANY):
            image = random.integers(0, 256, (24 + k % 40, 24 + k // 40, 3), dtype=np.uint8)
            yield Job(image, [Request([f"query {k}"])])

    alive, reached = [], dict.fromkeys((TEXTS, SHARED), 0)
    for k, ((trace,),) in enumerate(run_many(model, jobs(), together=2, workers=0)):
        layer_picture(trace, 0, "mask", [0])
        if k % 50 == 49:
            del trace
            gc.collect()
            most = check(watched)
            reached = {limit: max(size, most[limit]) for limit, size in reached.items()}
            alive.append(len(watched))
    assert max(alive) <= min(alive) + 8, "photos that are done keep their caches"
    assert all(size > limit / 2 for limit, size in reached.items()), "no limit was ever felt"


def test_one_image_with_many_queries(watched: WeakSet[Cache], model: ClipAsRnn) -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    photo = Photo(image, cache=Cache(PHOTO))
    reached = 0
    for k in range(MANY):
        model(photo, [f"query {k}", f"another {k}"])
        if k % 50 == 49:
            reached = max(reached, check(watched)[PHOTO])
    assert reached > PHOTO / 2, "the limit was never felt"


def test_the_limits_are_in_the_package() -> None:
    """Where the tests above put smaller ones: a photo, texts, and what all photos share."""
    assert Photo(np.zeros((1, 1, 3), np.uint8)).cache._values.maxsize == caches.LIMIT
    for cache in (crf_torch._smoothness, regions._cache, layers_module()._SHRUNK):
        assert 0 < cache._values.maxsize <= 2**29


def test_an_embedding_does_not_keep_its_batch() -> None:
    """One text of each batch stays in use, the others are dropped: nothing of them may stay."""
    cache = Cache(TEXTS)
    for k in range(40):
        cached_embeddings(cache, [f"{k} {n}" for n in range(32)], lambda texts: torch.zeros(len(texts), 32))
        cached_embeddings(cache, [f"{j} 0" for j in range(max(0, k - 20), k + 1)], refuse)
    assert held(cache) <= TEXTS


def test_evidence_does_not_keep_its_batch(tiny: ClipAsRnn) -> None:
    photo = Photo(np.random.default_rng(2).integers(0, 256, (40, 48, 3), dtype=np.uint8), cache=Cache(2**16))
    for k in range(20):
        photo.cache.drop("inputs")
        tiny.proposer.prepare(photo, tuple(f"{k} {n}" for n in range(20)), ())
        tiny.proposer.prepare(photo, tuple(f"{j} 0" for j in range(max(0, k - 10), k + 1)), ())
    assert held(photo.cache) <= ALLOWED * 2**16


def test_inputs_do_not_keep_a_trunk_that_is_gone(tiny: ClipAsRnn) -> None:
    """Prepared for two lists of queries; between them other values push the trunk out of the cache."""
    photo = Photo(np.random.default_rng(3).integers(0, 256, (40, 48, 3), dtype=np.uint8), cache=Cache(PHOTO))
    stages = tiny.proposer, tiny.classifier
    photo.prepare(*stages, ("cat",), ())
    for k in range(20):
        photo.cache.get(("other", k), lambda: np.zeros(PHOTO // 10, np.uint8))
        photo.prepare(*stages, ("cat",), ())  # stays in use, and in the cache
    photo.prepare(*stages, ("dog",), ())
    inputs = [value for key, value in photo.cache._values.items() if key[0] == "inputs"]
    assert len({one.proposals.trunk.activations.data_ptr() for one in inputs}) == 1


def test_evidence_of_inputs_is_counted(tiny: ClipAsRnn) -> None:
    """Each list of queries is stored with its evidence, which may be gone from the cache itself by then."""
    photo = Photo(np.random.default_rng(4).integers(0, 256, (40, 48, 3), dtype=np.uint8), cache=Cache(2**17))
    for k in range(30):
        for j in range(max(0, k - 12), k + 1):  # the lists stay in use, what they were made of does not
            photo.prepare(tiny.proposer, tiny.classifier, tuple(f"{j} {n}" for n in range(20)), ())
    assert held(photo.cache) <= 2**17


def refuse(texts: list[str]) -> Any:
    raise AssertionError(f"encoded again: {texts}")
