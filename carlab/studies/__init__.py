"""Studies: what a result hangs on. Each gives numbers, a table and a figure.

The closed form makes them cheap: maps of any set of queries are arithmetic, and only prompted images that no
run of the study has drawn before are encoded.
"""

from carlab.studies.forced import Counterfactual as Counterfactual
from carlab.studies.forced import counterfactual as counterfactual
from carlab.studies.phases import Phase as Phase
from carlab.studies.phases import PhaseDiagram as PhaseDiagram
from carlab.studies.phases import phase_diagram as phase_diagram
from carlab.studies.phases import theta_phases as theta_phases
from carlab.studies.pointing import RegionScores as RegionScores
from carlab.studies.pointing import WordMaps as WordMaps
from carlab.studies.pointing import drawn_region as drawn_region
from carlab.studies.pointing import region_scores as region_scores
from carlab.studies.pointing import word_maps as word_maps
from carlab.studies.removal import LeaveOneOut as LeaveOneOut
from carlab.studies.removal import leave_one_out as leave_one_out
from carlab.studies.wording import Vocabulary as Vocabulary
from carlab.studies.wording import Wording as Wording
from carlab.studies.wording import vocabulary as vocabulary
