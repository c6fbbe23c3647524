"""CAMs of the released code, on tiny random CLIPs (golden outputs in ../shared)."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from carlab.backbones import FrozenVlm, load_backbone
from carlab.photo import Photo
from carlab.stages.affinity import Affinity
from carlab.stages.proposer import GradCam


@pytest.fixture(scope="module")
def proposers(shared: Path) -> dict[str, FrozenVlm]:
    quirks = {"positions": "bilinear half", "side_multiple": 16}
    return {name: load_backbone(str(shared / "golden" / f"clip-{name}-proposer"), **quirks) for name in "ab"}


def test_cams_of_all_semantic_cases(shared: Path, proposers: dict[str, FrozenVlm]) -> None:
    cases = json.loads((shared / "golden" / "cases.json").read_text())
    semantic = [case for case in cases if case["seg_mode"] == "semantic"]
    assert semantic
    for case in semantic:
        golden = load_file(shared / "golden" / f"{case['name']}.safetensors")
        proposer = GradCam(
            proposers[case["models"]],
            affinity=Affinity(case["clipes_threshold"], cut_border=True),
            first_template="{}",
            keep_probability=True,
        )
        background = tuple(case["bg_cls"] or ())
        proposals = proposer.prepare(Photo.of(golden["image"]), case["queries"], background)
        active = np.arange(len(case["queries"]))
        for t, kept in enumerate(case["kept"]):
            cams, _ = proposer(proposals, active, t)
            difference = np.abs(cams - golden[f"step{t}.cam"]).max()
            assert difference <= 1e-3, f"{case['name']} step {t}: {difference}"
            active = active[kept]
