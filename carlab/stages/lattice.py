"""Mean field of a fully connected CRF on any device: Gaussian filters on the permutohedral lattice, in torch.

Adams, Baek and Davis (Eurographics 2010): a point in d dimensions lies in a simplex of d + 1 vertices of the
lattice; its value is splat onto them by barycentric weights, blurred along each of the d + 1 axes, and sliced
back by the same weights. Weights, order and scaling are those of Kraehenbuehl and Koltun's DenseCRF, so that
marginals are those of pydensecrf but for rounding. No value goes to the host but sizes, once a lattice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt

import torch
from jaxtyping import Float32, Int32, Int64
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
        Columns and values of the entries, row after row; of equally long rows as a matrix. Without weights
        each entry is 1.
    start
        Where each row begins, if rows are not equally long.
    """

    index: Int32[Tensor, " *entries"]
    weights: Float32[Tensor, " *entries"] | None
    start: Int32[Tensor, " rows"] | None = None

    def __matmul__(self, values: Float32[Tensor, "columns labels"]) -> Float32[Tensor, "rows2 labels"]:
        """Multiply with a matrix of one column a label; on a CPU several times as fast as torch's CSR."""
        return embedding_bag(self.index, values, self.start, mode="sum", per_sample_weights=self.weights)


@dataclass(frozen=True, eq=False)
class Lattice:
    """A Gaussian filter over points: splat, blurs and slice, each a product with a sparse matrix.

    Parameters
    ----------
    rows
        In the order in which they are applied.
    """

    rows: Sequence[Rows]

    def __call__(self, values: Float32[Tensor, "points labels"]) -> Float32[Tensor, "points labels"]:
        """Return the filtered values."""
        for row in self.rows:
            values = row @ values
        return values

    def normalised(self, weight: float) -> "Lattice":
        """Return D K D times `weight`, where K is this filter and D the inverse root of its row sums.

        Parameters
        ----------
        weight
            Of the kernel, in the Potts model.
        """
        splat, *between, cut = self.rows
        ones = torch.ones(len(cut.index), 1, device=cut.index.device)
        scale = (self(ones)[:, 0] + 1e-20).rsqrt()
        splat = replace(splat, weights=splat.weights * scale[splat.index])
        cut = replace(cut, weights=cut.weights * (weight * scale)[:, None])
        return Lattice((splat, *between, cut))


def lattice(features: Float32[Tensor, "dims points"]) -> Lattice:
    """Return the Gaussian filter exp(-|f_i - f_j|^2 / 2) over points, as the lattice approximates it.

    Raises SettingError if the features spread so wide that the vertices cannot be numbered.

    Parameters
    ----------
    features
        Coordinates of each point, divided by the deviation of the Gaussian.
    """
    dims, points = features.shape
    cells, order, weights = _simplices(features)
    keys, radices = _keys(cells[:dims], order)
    # One sort for each remainder: keys of different remainders differ, and short sorts are faster.
    pairs = [one.sort(stable=True) for one in keys]
    sorted_keys, point = torch.cat([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])
    new = torch.ones_like(sorted_keys, dtype=torch.bool)
    torch.ne(sorted_keys[1:], sorted_keys[:-1], out=new[1:])
    begin = new.nonzero()[:, 0]
    vertex = torch.cumsum(new, 0, dtype=torch.int32).sub_(1).view_as(point)
    vertex = torch.empty_like(vertex).scatter_(1, point, vertex)  # of each corner of each point
    new[::CHUNK] = True
    chunks = new.nonzero()[:, 0]
    splat = Rows(point.view(-1).int(), weights.gather(1, point).view(-1), chunks.int())
    joined = torch.arange(len(chunks), dtype=torch.int32, device=features.device)
    gather = Rows(joined, None, torch.searchsorted(chunks, begin, out_int32=True))
    alpha = 1 / (1 + 2**-dims)  # scaling of the released DenseCRF
    cut = Rows(vertex.T.contiguous(), alpha * weights.T.contiguous())
    return Lattice((splat, gather, *_blurs(sorted_keys[begin], radices), cut))


def _simplices(
    features: Float32[Tensor, "dims points"],
) -> tuple[Float32[Tensor, "corners points"], Int64[Tensor, "corners points"], Float32[Tensor, "corners points"]]:
    """Return for each point its vertex of remainder 0 over d + 1, the order of its axes, and its weights.

    The weights are those of the simplex's vertices, by remainder.
    """
    dims, points = features.shape
    corners = dims + 1
    height = features.new_zeros(points)
    # E f (p. 5), as wide as the blur is (p. 6). Coordinates are of some hundreds, so that one rounding more
    # or less shows in the weights: all are done as DenseCRF does them.
    width = torch.tensor(sqrt(2 / 3) * corners, dtype=torch.float32).item()
    elevated = features.new_empty(corners, points)
    for axis in range(dims, 0, -1):
        part = features[axis - 1] * (width / sqrt(axis * (axis + 1)))
        torch.sub(height, axis * part, out=elevated[axis])
        height = height + part
    elevated[0] = height
    cells = (elevated * (1 / corners)).round_()
    rest = elevated - corners * cells
    rank = cells.sum(0).long().repeat(corners, 1)  # not 0 where rounding left the plane
    for axis in range(dims):
        below = rest[axis] < rest[axis + 1 :]
        rank[axis] += below.sum(0)
        rank[axis + 1 :] += ~below
    back = (rank < 0).long() - (rank > dims).long()  # onto the plane again
    order = dims - rank - corners * back
    cells += back
    rest = (elevated - corners * cells) * (1 / corners)
    descent = torch.empty_like(rest).scatter_(0, order, rest)
    weights = descent - descent.roll(1, 0)  # barycentric (p. 10)
    weights[0] = descent[0] + (1 - descent[dims])
    return cells, order, weights


def _keys(
    cells: Float32[Tensor, "dims points"], order: Int64[Tensor, "corners points"]
) -> tuple[list[Int64[Tensor, " points"]], list[int]]:
    """Return a number for each vertex by remainder, and what a step in each coordinate adds to it.

    The vertex of remainder r is (d + 1) cell + r, where each axis of order below r has its cell one lower.
    """
    dims, corners = len(cells), len(order)
    low, high = cells.aminmax(dim=1)
    low = low - 2  # one cell lower in the simplex, and one more for the neighbours
    extents = [int(extent) for extent in (high - low + 2).tolist()]
    if not corners * prod(extents) < KEYS:
        raise SettingError(
            f"expected features that spread over fewer cells of the lattice, got {extents} cells; use larger "
            f"deviations of position and colour"
        )
    radices = [prod(extents[:axis]) for axis in range(dims + 1)]
    place = (cells - low[:, None]).long()
    key = sum(radix * row for radix, row in zip(radices, place, strict=False))
    step = torch.tensor([*radices[:dims], 0], device=cells.device)[:, None]
    steps = torch.empty_like(order).scatter_(0, order, step.expand_as(order))
    keys = [key]
    for row in steps[:dims]:
        keys.append(keys[-1] + (radices[dims] - row))
    return keys, radices


def _blurs(keys: Int64[Tensor, " vertices"], radices: list[int]) -> list[Rows]:
    """Return the blur along each axis: each vertex, and half of its two neighbours where they exist."""
    dims, number = len(radices) - 1, len(keys)
    here = torch.arange(number, dtype=torch.int32, device=keys.device)
    last = keys >= dims * radices[dims]  # of remainder d, whose neighbours upwards have remainder 0
    upwards = torch.where(last, sum(radices[:dims]) - dims * radices[dims], radices[dims])
    blurs = []
    for radix in (*radices[:dims], 0):
        sought = keys + (upwards - radix)
        up = torch.searchsorted(keys, sought, out_int32=True).clamp_(max=number - 1)
        found = keys.take(up.long()) == sought
        down = torch.full((number + 1,), -1, dtype=torch.int32, device=keys.device)
        down.scatter_(0, torch.where(found, up, number).long(), here)  # the last row takes the rest
        index = torch.stack([here, torch.where(found, up, -1), down[:number]], dim=1)
        weights = (index >= 0) * torch.tensor([1, 0.5, 0.5], device=keys.device)
        blurs.append(Rows(torch.where(index >= 0, index, here[:, None]), weights))
    return blurs


def mean_field(
    unary: Float32[Tensor, "labels points"], kernels: Sequence[Lattice], iterations: int
) -> Float32[Tensor, "labels points"]:
    """Return the marginals of each label in each point, in the Potts model.

    Parameters
    ----------
    unary
        Minus the logarithm of each label's probability.
    kernels
        Normalised and weighted.
    iterations
        Updates of the marginals by Q = softmax(sum of K Q - unary).
    """
    def messages(values: Float32[Tensor, "points columns"]) -> Float32[Tensor, "columns points"]:
        return sum(kernel(values) for kernel in kernels).T

    total = messages(torch.ones(unary.shape[1], 1, device=unary.device))
    marginals = (-unary).softmax(dim=0)
    for _ in range(iterations):
        # Marginals sum to 1, so that the messages of the first label are known from those of the others.
        others = messages(marginals[1:].T.contiguous())
        first = total - others.sum(dim=0, keepdim=True)
        marginals = (torch.cat([first, others]) - unary).softmax(dim=0)
    return marginals
