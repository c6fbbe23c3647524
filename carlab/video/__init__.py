"""Videos: each frame by the recurrence, what smooths them over time, and the results on disk.

The public names are listed in the stub beside this file and load lazily: opening traces imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
