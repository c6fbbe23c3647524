"""The permutohedral lattice against the algorithm of Adams, Baek and Davis (2010), vertex by vertex."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from carlab.errors import SettingError
from carlab.stages.lattice import CHUNK, Lattice, mean_field

Vertex = tuple[int, ...]


def elevation(dims: int) -> np.ndarray:
    """The matrix E of p. 5, in the scale of p. 6: from d coordinates to d + 1 that add up to 0."""
    matrix = np.triu(np.ones((dims + 1, dims)))
    matrix[np.arange(1, dims + 1), np.arange(dims)] = -np.arange(1, dims + 1)
    columns = np.arange(1, dims + 1)
    return matrix / np.sqrt(columns * (columns + 1)) * np.sqrt(2 / 3) * (dims + 1)


def simplex(place: np.ndarray) -> list[tuple[Vertex, float]]:
    """The vertices around a point of the plane, by remainder, with their barycentric weights (p. 6)."""
    size = len(place)
    nearest = size * np.round(place / size)
    excess = round(nearest.sum() / size)
    by_rest = np.argsort(-(place - nearest), kind="stable")
    if excess > 0:  # too far up: the axes that were rounded up most go down
        nearest[by_rest[size - excess :]] -= size
    elif excess < 0:
        nearest[by_rest[:-excess]] += size
    rest = place - nearest
    order = np.argsort(-rest, kind="stable")
    falling = rest[order]
    weights = [1 - (falling[0] - falling[-1]) / size]
    weights += [(falling[size - 1 - r] - falling[size - r]) / size for r in range(1, size)]
    found = []
    for remainder, weight in enumerate(weights):
        vertex = nearest + remainder
        vertex[order[size - remainder :]] -= size
        found.append((tuple(int(coordinate) for coordinate in vertex), float(weight)))
    return found


def filtered(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Splat, blur by (1/2, 1, 1/2) along each axis, slice; scaled as DenseCRF scales."""
    dims = points.shape[1]
    simplices = [simplex(elevation(dims) @ point) for point in points]
    grid: dict[Vertex, np.ndarray] = defaultdict(lambda: np.zeros(values.shape[1]))
    for corners, value in zip(simplices, values, strict=True):
        for vertex, weight in corners:
            grid[vertex] = grid[vertex] + weight * value
    for axis in range(dims + 1):
        step = np.ones(dims + 1, dtype=int)
        step[axis] = -dims
        sums = {v: grid.get(tuple(v + step), 0) + grid.get(tuple(v - step), 0) for v in grid}
        grid = {vertex: value + sums[vertex] / 2 for vertex, value in grid.items()}
    sliced = [sum(weight * grid[vertex] for vertex, weight in corners) for corners in simplices]
    return np.array(sliced) / (1 + 2.0**-dims)


def scattered(rng: np.random.Generator, dims: int) -> np.ndarray:
    return rng.normal(0, 3, (300, dims))


def clustered(rng: np.random.Generator, dims: int) -> np.ndarray:
    return rng.normal(0, 40, (4, dims))[rng.integers(0, 4, 300)] + rng.normal(0, 0.3, (300, dims))


def one_place(rng: np.random.Generator, dims: int) -> np.ndarray:
    return np.repeat(rng.normal(0, 5, (1, dims)), 3 * CHUNK + 5, axis=0)


def one_point(rng: np.random.Generator, dims: int) -> np.ndarray:
    return rng.normal(0, 5, (1, dims))


@pytest.mark.parametrize("dims", [1, 2, 3, 5])
@pytest.mark.parametrize("make", [scattered, clustered, one_place, one_point])
def test_the_filter_is_that_of_the_paper(
    make: Callable[[np.random.Generator, int], np.ndarray], dims: int
) -> None:
    rng = np.random.default_rng(dims)
    points = make(rng, dims).astype(np.float32)
    values = rng.uniform(0, 1, (len(points), 3)).astype(np.float32)
    expected = filtered(points.astype(float), values.astype(float))
    found = Lattice.of(torch.from_numpy(points.T.copy()))(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def gaussian(points: np.ndarray, deviation: float) -> np.ndarray:
    """All pairs, symmetrically normalised."""
    weights = np.exp(-((points[:, :, None] - points[:, None]) ** 2).sum(0) / 2 / deviation**2)
    scale = 1 / np.sqrt(weights.sum(1))
    return scale[:, None] * weights * scale


def test_the_filter_is_a_gaussian_of_this_width() -> None:
    """Where points lie dense, the normalised filter is nearer to deviation 1 than to 0.9 or 1.1."""
    side = np.arange(0, 8, 0.4, dtype=np.float32)
    points = np.stack(np.meshgrid(side, side)).reshape(2, -1)
    found = Lattice.of(torch.from_numpy(points)).normalised(2.5)(torch.eye(points.shape[1])).numpy()
    error = {one: np.abs(found / 2.5 - gaussian(points, one)).sum() for one in (0.8, 0.9, 1.0, 1.1, 1.25)}
    assert min(error, key=error.__getitem__) == 1.0
    assert error[1.0] < error[0.8] / 2 and error[1.0] < error[1.25] / 2


def test_points_too_wide_apart() -> None:
    with pytest.raises(SettingError, match="larger deviations"):
        Lattice.of(torch.tensor([[0, 1e5]] * 5))


class Calls(TorchDispatchMode):
    """Names of the operators called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def calls(points: int, iterations: int) -> list[str]:
    torch.manual_seed(0)
    kernels = [Lattice.of(torch.rand(dims, points)).normalised(1.0) for dims in (2, 5)]
    unary = torch.rand(3, points)
    with Calls() as seen:
        mean_field(unary, kernels, iterations)
    return seen.names


def test_no_update_waits_for_the_device() -> None:
    """The same operators for any number of points, and none whose result the host must know."""
    assert calls(10, 2) == calls(1000, 2)
    waiting = {"_local_scalar_dense", "nonzero", "_unique2", "item", "is_nonzero", "masked_select"}
    assert not waiting & set(calls(10, 2))
    assert len(calls(10, 3)) - len(calls(10, 2)) < 30
