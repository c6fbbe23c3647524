"""Mean field of a fully connected CRF on any device: Gaussian filters on the permutohedral lattice, in torch.

Adams, Baek and Davis (Eurographics 2010): a point in d dimensions lies in a simplex of d + 1 vertices of the
lattice; its value is splat onto them by barycentric weights, blurred along each of the d + 1 axes, and sliced
back by the same weights. Weights, order and scaling are those of DenseCRF (Kraehenbuehl and Koltun 2011), so
that marginals are pydensecrf's but for rounding. Nothing but sizes goes to the host, and only while a lattice
is built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from math import prod, sqrt
from operator import sub

import numpy as np
import torch
from jaxtyping import Float32, Int8, Int32, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag

from carlab.errors import SettingError

CHUNK = 64
"""Most terms that one thread of a GPU adds up: a vertex under a clear sky has thousands."""
KEYS = 2**62
"""Vertices of a bounding box that 64 bits can number."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix by its rows, each of which adds up weighted rows of what it is multiplied with.

    Parameters
    ----------
    index, weights
        Columns and values of the entries, row after row.
    start
        Where each row begins, and the end.
    """

    index: Int32[Tensor, " entries"]
    weights: Float32[Tensor, " entries"]
    start: Int32[Tensor, " bounds"]

    def __matmul__(self, values: Float32[Tensor, "columns labels"]) -> Float32[Tensor, "rows labels"]:
        """Multiply; with 20 labels on a CPU this takes a third of the time of torch's CSR product."""
        return embedding_bag(
            self.index,
            values,
            self.start,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )

    @classmethod
    def of(cls, index: Int32[Tensor, "rows entries"], weights: Float32[Tensor, "rows entries"]) -> "Rows":
        """Make rows of equal length."""
        start = torch.arange(0, index.numel() + 1, index.shape[1], dtype=torch.int32, device=index.device)
        return cls(index.flatten(), weights.flatten(), start)


@dataclass(frozen=True, eq=False)
class Lattice:
    """A Gaussian filter over points, ``exp(-|f_i - f_j|^2 / 2)``, as a product of sparse matrices.

    Parameters
    ----------
    rows
        In the order in which they are applied: splat in two, blurs, slice.

    Examples
    --------
    Two points far apart keep what they have, but for a scale:

    >>> filtered = Lattice.of(torch.tensor([[0.0, 100.0]])).normalised(1.0)
    >>> filtered(torch.tensor([[1.0], [2.0]])).flatten().round(decimals=4)
    tensor([1., 2.])
    """

    rows: Sequence[Rows]

    @classmethod
    def of(cls, features: Float32[Tensor, "dims points"]) -> "Lattice":
        """Build the lattice of points.

        Raises SettingError if they spread so wide that the vertices cannot be numbered.

        Parameters
        ----------
        features
            Coordinates of each point, divided by the deviation of the Gaussian.
        """
        cells, order, weights = _simplices(features)
        numbers, steps = _vertex_numbers(cells, order)
        keys, splat, vertex = _splat(numbers, weights)
        # The scaling is DenseCRF's.
        return cls((*splat, *_blurs(keys, steps), Rows.of(vertex, weights.T / (1 + 2 ** -len(features)))))

    def __call__(self, values: Float32[Tensor, "points labels"]) -> Float32[Tensor, "points labels"]:
        """Return the filtered values."""
        for rows in self.rows:
            values = rows @ values
        return values

    def normalised(self, weight: float) -> "Lattice":
        """Return D K D times `weight`, where K is this filter and D the inverse root of its row sums."""
        splat, *between, cut = self.rows
        ones = torch.ones(len(cut.start) - 1, 1, device=cut.start.device)
        scale = (self(ones)[:, 0] + 1e-20).rsqrt()
        spread = splat.weights * scale.index_select(0, splat.index)
        gathered = cut.weights.view(len(scale), -1) * (weight * scale)[:, None]
        return Lattice((replace(splat, weights=spread), *between, replace(cut, weights=gathered.flatten())))


def _simplices(
    features: Float32[Tensor, "dims points"],
) -> tuple[Float32[Tensor, "dims points"], Int8[Tensor, "dims points"], Float32[Tensor, "corners points"]]:
    """Return the simplex of each point: its cell, the order of its axes, and the weights of its vertices.

    Its vertex of remainder r over d + 1 is (d + 1) cell + r, where axes of an order below r have their cell
    one lower. The last of the d + 1 coordinates is left out: all add up to 0.
    """
    dims, points = features.shape
    # E f (p. 5), as wide as the blur is (p. 6). A coordinate is some hundreds, so that the rounding of each
    # operation shows in the weights: all are DenseCRF's, in its order.
    width = float(np.float32(sqrt(2 / 3) * (dims + 1)))
    elevated = features.new_empty(dims + 1, points)
    height = features.new_zeros(points)
    for axis in range(dims, 0, -1):
        part = features[axis - 1] * (width / sqrt(axis * (axis + 1)))
        elevated[axis] = height - axis * part
        height = height + part
    elevated[0] = height
    cells = (elevated * (1 / (dims + 1))).round()
    rest = elevated - (dims + 1) * cells
    rank = cells.sum(0).to(torch.int8).repeat(dims + 1, 1)  # 0, but where rounding left the plane
    for axis in range(dims):
        below = rest[axis] < rest[axis + 1 :]
        rank[axis] += below.sum(0, dtype=torch.int8)
        rank[axis + 1 :] += ~below
    back = (rank < 0).to(torch.int8) - (rank > dims).to(torch.int8)  # onto the plane again
    order = dims - rank - (dims + 1) * back
    cells += back
    rest = (elevated - (dims + 1) * cells) * (1 / (dims + 1))
    rest = torch.empty_like(rest).scatter_(0, order.long(), rest)
    weights = rest - rest.roll(1, 0)  # barycentric (p. 10)
    weights[0] = rest[0] + (1 - rest[dims])
    return cells[:dims], order[:dims], weights


def _vertex_numbers(
    cells: Float32[Tensor, "dims points"], order: Int8[Tensor, "dims points"]
) -> tuple[Iterator[Int64[Tensor, " points"]], list[int]]:
    """Return a number for the vertex of each remainder, and what a step along each coordinate adds to it.

    The last step is that to the next remainder.
    """
    low, high = cells.aminmax(dim=1)
    # A vertex of the simplex can be one cell lower, and a neighbour one lower or higher than that.
    sides = [int(side) for side in (high - low + 4).tolist()]
    *along, volume = steps = [prod(sides[:axis]) for axis in range(len(sides) + 1)]
    if volume > KEYS / (len(sides) + 1):
        raise SettingError(
            f"expected fewer than {KEYS:.0e} cells in the lattice of the CRF, got {sides} along its axes; "
            "use larger deviations"
        )
    step = torch.tensor(along, device=cells.device)[:, None]
    first = ((cells - low[:, None] + 2).long() * step).sum(0)
    lowered = (((order == remainder) * step).sum(0) - volume for remainder in range(len(sides)))
    return accumulate(lowered, sub, initial=first), steps


def _splat(
    numbers: Iterator[Int64[Tensor, " points"]], weights: Float32[Tensor, "corners points"]
) -> tuple[Int64[Tensor, " vertices"], tuple[Rows, Rows], Int32[Tensor, "points corners"]]:
    """Return the number of each vertex in rising order, the splat onto them, and the vertices of each point.

    One vertex more has no point: it is the neighbour of those that have none.
    """
    corners, points = weights.shape
    point = torch.empty_like(weights, dtype=torch.int32)  # those of one vertex side by side
    spread = torch.empty_like(weights)
    vertex = point.new_empty(points, corners)
    keys: list[Int64[Tensor, " some"]] = []
    begin: list[Int64[Tensor, " some"]] = []
    for remainder, number in enumerate(numbers):
        # A sort for each remainder: short ones are faster, and take less memory.
        ordered, place = number.sort(stable=True)
        new = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=new[1:])
        before = sum(map(len, keys))
        vertex[:, remainder].scatter_(0, place, new.cumsum(0, dtype=torch.int32) + (before - 1))
        point[remainder] = place
        spread[remainder] = weights[remainder].take(place)
        first = new.nonzero()[:, 0]
        keys.append(ordered.take(first))
        begin.append(first + remainder * points)
    bounds = torch.cat([*begin, begin[0].new_full((2,), point.numel())])
    chunks = torch.cat([bounds, torch.arange(0, point.numel(), CHUNK, device=bounds.device)]).sort()[0]
    sums = torch.arange(len(chunks) - 1, dtype=torch.int32, device=bounds.device)
    splat = (
        Rows(point.flatten(), spread.flatten(), chunks.int()),
        Rows(sums, torch.ones_like(sums).float(), torch.searchsorted(chunks, bounds, out_int32=True)),
    )
    return torch.cat(keys), splat, vertex


def _blurs(keys: Int64[Tensor, " vertices"], steps: list[int]) -> list[Rows]:
    """Return the blur along each axis: each vertex, and half of each neighbour.

    The neighbour upwards has the next remainder and a cell one lower along the axis.
    """
    *along, volume = steps
    number = len(keys)
    here = torch.arange(number + 1, dtype=torch.int32, device=keys.device)
    weights = torch.tensor([1, 0.5, 0.5], device=keys.device).repeat(number + 1, 1)
    last = keys >= len(along) * volume  # of the last remainder, after which comes 0, of a cell one higher
    upwards = keys + torch.where(last, sum(along) - len(along) * volume, volume)
    blurs = []
    for step in (*along, 0):
        sought = upwards - step
        place = torch.searchsorted(keys, sought).clamp_(max=number - 1)
        up = torch.where(keys.take(place) == sought, place, number)
        up = torch.cat([up, up.new_tensor([number])])
        down = torch.full_like(here, number).scatter_(0, up, here)
        down[number] = number
        blurs.append(Rows.of(torch.stack([here, up.int(), down], dim=1), weights))
    return blurs


def mean_field(
    unary: Float32[Tensor, "labels points"], kernels: Sequence[Lattice], iterations: int
) -> Float32[Tensor, "labels points"]:
    """Return the marginals of each label in each point, in the Potts model (Kraehenbuehl and Koltun 2011).

    Parameters
    ----------
    unary
        Minus the logarithm of each label's probability.
    kernels
        Normalised and weighted.
    iterations
        Updates of the marginals to softmax(sum of the filtered marginals - unary).
    """

    def messages(values: Float32[Tensor, "points columns"]) -> Float32[Tensor, "columns points"]:
        return reduce(torch.add, (kernel(values) for kernel in kernels)).T

    total = messages(unary.new_ones(unary.shape[1], 1))[0]
    logits, marginals = torch.empty_like(unary), (-unary).softmax(dim=0)
    for _ in range(iterations):
        # Marginals add up to 1, so that the messages of the first label follow from those of the others.
        logits[1:] = messages(marginals[1:].T.contiguous())
        logits[0] = total - logits[1:].sum(dim=0)
        marginals = logits.sub_(unary).softmax(dim=0)
    return marginals
