"""carlab: CLIP as RNN, every step visible.

>>> import carlab
>>> trace = carlab.segment("cat.jpg", ["cat", "dog"])  # doctest: +SKIP

The public names are listed in the stub beside this file and load lazily: reading and showing a trace imports
no torch.
"""

from typing import Any

import lazy_loader

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("clip-as-rnn-lab")
    return _attribute(name)
