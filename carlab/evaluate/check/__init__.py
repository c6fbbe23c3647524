"""Is a model the trained image-text model that it says it is? Images, measures, and what they must give."""

from carlab.evaluate.check.rows import Report as Report
from carlab.evaluate.check.rows import check_backbone as check_backbone
