"""The released code's own outputs, case by case, against the `reference` preset.

A case is an input, its settings, and what the released code computed at each step (the layout is that of
docs/fidelity.md). The bounds are those below; none is tuned to a case. What rounding alone decides is told
from the case's own masks: pixels within rounding of eta, and survivors whose masks are equal but for
rounding. Both are counted.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from safetensors import SafetensorError
from safetensors.numpy import load_file

from carlab.backbones import FrozenVlm, load_backbone
from carlab.errors import DatasetError
from carlab.files.pictures import resize_maps
from carlab.presets import RELEASED
from carlab.recurrence import ClipAsRnn
from carlab.stages.affinity import Affinity
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.prompter import prompts
from carlab.stages.proposer import GradCam, min_max
from carlab.stages.refiner import DenseCrf
from carlab.trace import Trace

OWN = Path(__file__).parents[1] / "tests" / "fidelity" / "golden"
"""Five cases that come with the checkout: public-domain images of scikit-image, tiny random CLIPs."""
BOUNDS = {
    "cam": 5e-4,
    "refined": 2e-4,
    "probs": 1e-5,
    "prompted": 1e-3,
    "masks": 1e-3,
    "refiner": 5e-3,
    "final": 5e-3,
}
"""Largest difference allowed: of CAMs in [0, 1]; of refined CAMs as a share of their maximum; of
probabilities; shares of prompted values, of mask pixels (by more than 2 of 255), and of final pixels, by the
refiner from the case's own masks and by the whole chain."""
ROUNDING = 1e-5
"""What may differ between processors in a soft mask: a pixel of a case so close to eta may fall on either
side of it, and two masks so close everywhere are equal."""
MEAN_FINAL = 1e-3
"""Largest mean share of final pixels that differ, over all cases."""


@dataclass
class Row:
    """Largest difference of each kind over all steps of a case; a kind that the case lacks is absent."""

    name: str
    differences: dict[str, float] = field(default_factory=dict)
    kept: bool = True
    flipped: int = 0
    """Mask pixels on the other side of eta, all within `ROUNDING` of it in the case itself."""
    equal: int = 0
    """Survivors that share their soft mask with another, within `ROUNDING`, in the case itself."""

    @property
    def holds(self) -> bool:
        """True if every difference is within its bound and every kept set is identical."""
        return self.kept and all(value <= BOUNDS[kind] for kind, value in self.differences.items())

    def see(self, kind: str, difference: float | np.floating[Any]) -> None:
        """Add a difference; NaN counts as infinite."""
        difference = float("inf") if np.isnan(difference) else float(difference)
        self.differences[kind] = max(difference, self.differences.get(kind, 0.0))


def all_hold(rows: Sequence[Row]) -> bool:
    """Return whether every case holds, and the final masks do on average."""
    final = [row.differences["final"] for row in rows if "final" in row.differences]
    return (
        bool(rows) and all(row.holds for row in rows) and (not final or float(np.mean(final)) <= MEAN_FINAL)
    )


def run_cases(folder: str | os.PathLike[str]) -> Iterator[Row]:
    """Run every case in a folder, one row each.

    Raises
    ------
    DatasetError
        If the folder or a case in it is not in the layout.
    """
    root = Path(folder)
    try:
        cases = json.loads((root / "cases.json").read_text())
        names = sorted({case["models"] for case in cases})
        if not names:
            raise ValueError("no cases")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"expected a folder with cases.json, a list of cases, got {str(root)!r} ({error!r}); "
            "see docs/fidelity.md for the layout"
        ) from error
    backbones = {name: load_pair(root, name) for name in names}
    for case in cases:
        try:
            golden = load_file(root / f"{case['name']}.safetensors")
            row = run_case(case, golden, *backbones[case["models"]])
        except (OSError, SafetensorError, KeyError) as error:
            raise DatasetError(
                f"expected a whole case, got {case.get('name')!r} in {str(root)!r} ({error!r}); "
                "see docs/fidelity.md for the layout"
            ) from error
        yield row


def load_pair(root: Path, name: str) -> tuple[FrozenVlm, FrozenVlm]:
    """Load proposer and classifier of a pair of models, with the release's quirks."""
    f, g = (
        load_backbone(str(root / f"clip-{name}-{role}"), **RELEASED) for role in ("proposer", "classifier")
    )
    return f, g


def build(case: Mapping[str, Any], f: FrozenVlm, g: FrozenVlm) -> ClipAsRnn:
    """Build the `reference` preset with the settings of a case."""
    compete = case["seg_mode"] == "semantic"
    return ClipAsRnn(
        proposer=GradCam(
            f,
            affinity=Affinity(case["clipes_threshold"], cut_border=True),
            compete=compete,
            first_template="{}",
            keep_probability=True,
        ),
        prompter=prompts(case["visual_prompt_type"]).as_released(),
        classifier=TemplateClassifier(
            g, tuple(case["semantic_templates"]), ensemble="probabilities", fit="crop", skip_blocks=1
        ),
        filter=Threshold(case["confidence_threshold"], keep_best=True),
        refiner=DenseCrf(case["bg_factor"], compete=compete, released_image=True),
        mask_threshold=case["mask_threshold"],
        background=tuple(case["bg_cls"] or ()),
        min_steps=2,
        name="reference",
    )


def run_case(case: Mapping[str, Any], golden: Mapping[str, np.ndarray], f: FrozenVlm, g: FrozenVlm) -> Row:
    """Compare one case, step by step, until the kept sets differ."""
    model = build(case, f, g)
    trace = model(golden["image"], case["queries"], record=["affinity.refined"])
    row = Row(case["name"], kept=len(trace.steps) == len(case["kept"]))
    for t, expected in enumerate(case["kept"][: len(trace.steps)]):
        compare_step(row, model, trace, golden, t)
        if np.flatnonzero(trace.steps[t].kept).tolist() != list(expected):
            row.kept = False
            return row  # what follows compares different sets
    if "final.masks" in golden:
        compare_final(row, model, trace, golden)
    return row


def compare_step(row: Row, model: ClipAsRnn, trace: Trace, golden: Mapping[str, np.ndarray], t: int) -> None:
    """Compare CAM, refined CAM, masks, prompted images and probabilities of one step with the case's."""
    step, prefix = trace.steps[t], f"step{t}."
    masks = trace.masks(t)
    probs = step.probs
    levels = np.abs(np.rint(masks * 255) - golden[prefix + "masks_u8"])
    row.see("masks", (levels > 2).mean(axis=(1, 2)).max())
    if prefix + "cam_refined" in golden:
        own = resize_maps(min_max(golden[prefix + "cam_refined"]), *trace.image.shape[:2])
        flipped = rounding_flips(own, masks, model.mask_threshold)
        if flipped:  # the drawn regions differ by rounding: judge prompter and classifier on the case's own
            row.flipped += flipped
            masks, probs = own, rescored(model, trace, own, t)
    row.see("probs", np.abs(probs - golden[prefix + "probs"]).max())
    if prefix + "cam" in golden:
        row.see("cam", np.abs(step.cams - golden[prefix + "cam"]).max())
        refined = golden[prefix + "cam_refined"]
        largest = np.abs(refined).max() or 1.0
        row.see("refined", np.abs(step.probes["affinity.refined"] - refined).max() / largest)
    if prefix + "prompted" in golden:
        drawn = np.stack([model.prompter(trace.image, mask > model.mask_threshold) for mask in masks])
        row.see("prompted", (drawn != golden[prefix + "prompted"]).mean(axis=(1, 2, 3)).max())


def rounding_flips(own: Float32[np.ndarray, "q h w"], masks: Float32[np.ndarray, "q h w"], eta: float) -> int:
    """Return how many pixels lie on the other side of eta than in the case, if rounding explains them all."""
    flipped = (own > eta) != (masks > eta)
    return int(flipped.sum()) if (np.abs(own - eta)[flipped] <= ROUNDING).all() else 0


def rescored(
    model: ClipAsRnn, trace: Trace, masks: Float32[np.ndarray, "q h w"], t: int
) -> Float32[np.ndarray, "q q"]:
    """Return the probabilities of step `t` with other soft masks, in pixels, in place of its own."""
    g, active = model.classifier, trace.steps[t].active
    drawn = [g.preprocess(model.prompter(trace.image, mask > model.mask_threshold)) for mask in masks]
    return g(g.encode_images(np.stack(drawn)), g.encode_text(trace.queries), active)


def compare_final(row: Row, model: ClipAsRnn, trace: Trace, golden: Mapping[str, np.ndarray]) -> None:
    """Compare final masks: those of the whole chain, and those refined from the case's own soft masks.

    Where survivors' soft masks are equal but for rounding, the CRF decides between their labels by the last
    bit of the CAM: in the chain they are judged by their union. From the case's own masks, where it holds
    them in floating point, every label is judged.
    """
    expected = golden["final.masks"] > 0
    own = f"step{len(trace.steps) - 1}.cam_refined"
    groups = [[k] for k in range(len(trace.survivors))]
    if own in golden:
        masks = min_max(golden[own])[trace.steps[-1].kept]
        row.see("refiner", disagreement(expected, trace, model.refiner(trace.image, masks), groups))
        groups = equal_masks(masks)
        row.equal = sum(len(group) for group in groups if len(group) > 1)
    row.see("final", disagreement(expected, trace, trace.refined, groups))


def equal_masks(masks: Float32[np.ndarray, "k i j"]) -> list[list[int]]:
    """Return groups of masks that are equal to the first of the group but for rounding."""
    groups: list[list[int]] = []
    for k, mask in enumerate(masks):
        for group in groups:
            if np.abs(mask - masks[group[0]]).max() <= ROUNDING:
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def disagreement(
    expected: Bool[np.ndarray, "Q h w"],
    trace: Trace,
    refined: Bool[np.ndarray, "k h w"],
    groups: Sequence[Sequence[int]],
) -> float:
    """Return the share of pixels of all queries' final masks that differ; a dropped query's mask is empty.

    Survivors of one group are judged by the union of their masks.
    """
    final = np.zeros(expected.shape, dtype=bool)
    final[trace.survivors] = refined
    expected = expected.copy()
    for group in groups:
        members = np.asarray(trace.survivors)[list(group)]
        for labels in (final, expected):
            labels[members] = labels[members].any(axis=0)
    return float((final != expected).mean())
