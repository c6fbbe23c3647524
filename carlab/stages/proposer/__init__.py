"""f, the mask proposer: one file for each, and the table that names them; docs/proposers.md compares them.

The names load lazily: listing the table, as the command line does, imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
