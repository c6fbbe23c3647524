"""A second device without a GPU: tensors there raise where they meet others, and every move is told.

`with pretended() as moves:` makes `DEVICE` usable. A tensor there is a wrapper around one in ordinary memory.
An operation that is given tensors of both kinds raises, as on a GPU, unless the ordinary one is one number or
an index; so does NumPy. What moves (`.to`, `.cpu`, `copy_`, an index), and what waits for a value on a GPU
(`.item()`, `bool(...)`, `nonzero`, an index of booleans), is appended to `moves`.

`DEVICE` is "lazy", a type of device that every build of torch knows and none of ours can compute on: a tensor
made there outside the `with` fails at its first operation, and autograd needs no thread of its own for it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import carlab

DEVICE = "lazy"
PACKAGE = Path(carlab.__file__).parent
FACTORIES = (torch.tensor, torch.as_tensor, torch.asarray)
"""They allocate before any mode is asked."""
WAITS = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "bincount", "equal"}
"""Operations whose result, or its size, a program on a GPU has to wait for."""

INDEXING = {"index", "index_put_"}
"""They may be given an ordinary tensor as index, and move it themselves."""


class Move(NamedTuple):
    """What went from one memory to the other, and the file of carlab that asked for it."""

    kind: Literal["up", "down", "wait"]
    name: str
    bytes: int
    where: str


class Far(Tensor):
    """A tensor that says it lies on `DEVICE`; its values are in `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Far":
        size, layout = held.shape, (held.stride(), held.storage_offset())
        far = Tensor._make_wrapper_subclass(cls, size, *layout, dtype=held.dtype, device=DEVICE)
        far.held = held
        return far

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Reached where no mode is open: in another thread, or after the `with`.
        raise RuntimeError(f"{function} on the pretended device where it is not open")


class Dispatch(TorchDispatchMode):
    """Runs every operation on the values that are held, once it is known that they may meet."""

    def __init__(self, moves: list[Move]) -> None:
        super().__init__()
        self.moves = moves

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name.removeprefix("aten::")
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        far = [tensor for tensor in given if isinstance(tensor, Far)]
        place = kwargs.get("device")
        here = not far if place is None else torch.device(place).type != DEVICE
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            here = not isinstance(args[0], Far) if name == "copy_" else here
            if isinstance(source, Far) == here:
                self.tell("down" if here else "up", name, source)
        elif far:
            near = [tensor for tensor in given if tensor.ndim and not isinstance(tensor, Far)]
            if near and not (name in INDEXING and isinstance(args[0], Far) and set(near) <= set(args[1])):
                raise RuntimeError(f"{name} was given tensors of two devices")
            for tensor in near:
                self.tell("up", name, tensor)
            if waits(name, args):
                self.tell("wait", name, far[0])
        if place is not None:
            kwargs = {**kwargs, "device": "cpu"}
        made = function(*tree_map_only(Far, held, args), **tree_map_only(Far, held, kwargs))
        if torch.Tag.inplace_view in function.tags and far:  # `squeeze_` changes the wrapper's shape too
            with no_dispatch():
                args[0].data = Far(made)
        if here:
            return made
        known = {id(tensor.held): tensor for tensor in far}  # what is changed in place stays the same tensor
        return tree_map_only(Tensor, lambda new: known[id(new)] if id(new) in known else Far(new), made)

    def tell(self, kind: Any, name: str, tensor: Tensor) -> None:
        """Append a move."""
        self.moves.append(Move(kind, name, tensor.nbytes, file_of_carlab()))


class Functions(TorchFunctionMode):
    """What does not reach the dispatcher: factories that copy, and conversions to Python and NumPy."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in FACTORIES and torch.device(kwargs.get("device") or "cpu").type == DEVICE:
            if isinstance(args[0], Tensor):
                return args[0].to(kwargs["device"], kwargs.get("dtype"))
            values = tree_map_only(Far, Tensor.item, args[0])  # one by one, as torch does
            return function(values, *args[1:], **{**kwargs, "device": "cpu"}).to(DEVICE)
        if function is Tensor.new_tensor and isinstance(args[0], Far):
            return torch.tensor(args[1], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
        if function is Tensor.tolist and isinstance(args[0], Far):
            return args[0].cpu().tolist()
        if function in (Tensor.numpy, Tensor.__array__) and isinstance(args[0], Far):
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy")
        if function == Tensor.data.__set__ and isinstance(args[0], Far):  # how a module changes its precision
            args[0].held = args[1].held
        return function(*args, **kwargs)


@contextmanager
def pretended() -> Iterator[list[Move]]:
    """Make `DEVICE` usable in this thread; yields the moves made meanwhile, in order."""
    moves: list[Move] = []
    with Functions(), Dispatch(moves):
        yield moves


def held(tensor: Far) -> Tensor:
    """The values of a tensor on the pretended device."""
    return tensor.held


def waits(name: str, args: Any) -> bool:
    """Whether a program on a GPU would have to wait for the result of this operation, or for its size."""
    if name in INDEXING:
        return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])
    return name in WAITS or name == "_local_scalar_dense"


def file_of_carlab() -> str:
    """The file of the package that is at work, "stages/proposer"; hooks work for whoever calls them."""
    frame: Any = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE) and path.parent.name != "hooks":
            return path.relative_to(PACKAGE).with_suffix("").as_posix()
        frame = frame.f_back
    return ""
