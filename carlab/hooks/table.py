"""The published table of probes: every tensor of a run that can be recorded or edited.

Axis letters: Q all queries, q those active in the step, k survivors, B background queries,
n patch tokens (i rows by j columns), c token width, d embedding width,
p templates, s classifier input side, h w image rows and columns, m regions.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple

from carlab.errors import ProbeError, described


class ProbeInfo(NamedTuple):
    """One row of the table."""

    axes: str
    when: str
    """When it fires: once an "image" while preparing, in every "step", or at the "end" in the refiner."""
    meaning: str


PROBES: dict[str, ProbeInfo] = {
    "cam.activations": ProbeInfo("n c", "image", "A: input of the last block, patch tokens"),
    "cam.logits": ProbeInfo("Q", "image", "l_j of every query, logit scale included"),
    "cam.background": ProbeInfo("B", "image", "l_b of every background query"),
    "cam.gradients": ProbeInfo("Q c", "image", "g_j: mean over tokens of d l_j / d A"),
    "cam.raw": ProbeInfo("q i j", "step", "Grad-CAM after relu, before min-max"),
    "cam.normalised": ProbeInfo("q i j", "step", "Grad-CAM in [0, 1]"),
    "affinity.attention": ProbeInfo("n n", "image", "patch attention, mean of heads and blocks"),
    "affinity.similarity": ProbeInfo("n n", "image", "patch similarity of a backbone without attention"),
    "affinity.transition": ProbeInfo("n n", "image", "D: the doubly normalised, squared affinity"),
    "affinity.boxes": ProbeInfo("q i j", "step", "box mask M of each query, 0 or 1"),
    "affinity.refined": ProbeInfo("q i j", "step", "(D * M) @ cam, before min-max"),
    "mask.refined": ProbeInfo("q i j", "step", "soft mask in [0, 1] after the affinity"),
    "classify.texts": ProbeInfo("p Q d", "image", "text embeddings, template by query"),
    "classify.pictures": ProbeInfo("q s s 3", "step", "prompted images as the classifier sees them"),
    "classify.embeddings": ProbeInfo("q d", "step", "image embeddings of the prompted images"),
    "classify.logits": ProbeInfo("p q q", "step", "template, prompted image, query"),
    "classify.probs": ProbeInfo("q q", "step", "P_t: row = prompted image; by softmax rows sum to 1"),
    "filter.scores": ProbeInfo("q", "step", "diagonal of P_t, compared with the threshold"),
    "refine.masks": ProbeInfo("k i j", "end", "soft masks of the survivors, input of the refiner"),
    "refine.regions": ProbeInfo("m h w", "end", "regions that final masks are matched to, 0 or 1"),
}
"""Every probe: its axes, when it fires, what it is."""


def check_patterns(patterns: tuple[str, ...], *, exact: bool = False) -> tuple[str, ...]:
    """Return `patterns` if each names a probe, otherwise raise ProbeError."""
    for pattern in patterns:
        known = isinstance(pattern, str) and (
            pattern in PROBES if exact else any(fnmatchcase(name, pattern) for name in PROBES)
        )
        if not known:
            raise ProbeError(
                f"expected the name{'' if exact else ' or pattern'} of a probe, got {described(pattern)}; "
                f"the probes are {', '.join(PROBES)}"
            )
    return patterns
