from .errors import CarlabError as CarlabError
from .hooks import PROBES as PROBES
from .hooks import edit as edit
from .hooks import record as record
from .photo import Photo as Photo
from .presets import PRESETS as PRESETS
from .presets import load as load
from .recurrence import ClipAsRnn as ClipAsRnn
from .settings import change as change
from .tasks.calls import refer as refer
from .tasks.calls import segment as segment
from .tasks.calls import segment_many as segment_many
from .trace import Step as Step
from .trace import Trace as Trace

__version__: str
