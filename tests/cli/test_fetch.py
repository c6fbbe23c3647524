"""`carlab fetch` and what `carlab models` says afterwards, against a hub on the loopback."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save

from carlab.presets import BASE_16, LARGE_14
from carlab.trace.show import size_text
from tests.backbones.elsewhere import call, carlab, fetch_on_a_full_disk, found
from tests.backbones.loopback_hub import Files, LoopbackHub
from tests.backbones.test_hub import SMALL, WHOLE, old_layout, tensors

Run = Callable[..., tuple[int, str, str]]
SAM: Files = {
    **{"config.json": b'{"model_type": "sam"}', "preprocessor_config.json": b"{}"},
    "model.safetensors": save(tensors(rows=20_000)),
}
BYTES = sum(map(len, WHOLE.values()))


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub().serving() as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(hub: LoopbackHub, home: Path) -> Run:
    """A command in a process of its own; first argument: another function than the command line."""

    def runner(*words: str, function: Callable[..., Any] = carlab, **environment: str) -> Any:
        outcome = call(function, *words, **{"HF_HOME": str(home), "HF_ENDPOINT": hub.url, **environment})
        assert not outcome.error, outcome
        return outcome.value

    return runner


def test_a_preset_is_fetched_once(hub: LoopbackHub, run: Run, home: Path) -> None:
    first = hub.add(BASE_16, WHOLE)
    hub.add(LARGE_14, WHOLE)
    code, out, err = run("fetch", "--dry-run", "paper/voc")
    assert (code, err, home.exists()) == (0, "", False)
    weights = size_text(len(WHOLE["model.safetensors"]))
    assert re.search(f"model.safetensors +{weights} +{weights} to download", out)
    assert f"{size_text(2 * BYTES)} to download into {home}/hub" in out
    code, out, err = run("fetch", "paper/voc", BASE_16)
    assert code == 0
    assert out.count(f"{BASE_16} at {first[:8]}:") == 1
    assert "set HF_HUB_CACHE to" in out
    assert "100%" not in out  # no terminal, no bar
    for name in (BASE_16, LARGE_14):
        assert call(found, name, HF_HOME=str(home), HF_HUB_OFFLINE="1").value
    hub.log.clear()
    code, out, err = run("fetch", "paper/voc")
    assert (code, err) == (0, "")
    assert "0 B to download" in out
    assert not hub.requests("/storage/")


def test_fetch_asks_for_news(hub: LoopbackHub, run: Run, home: Path) -> None:
    hub.add(BASE_16, WHOLE)
    run("fetch", BASE_16)
    second = hub.add(BASE_16, {**SMALL, "model.safetensors": save(tensors(1.0))})
    assert second[:8] in run("fetch", BASE_16)[1]
    assert call(found, BASE_16, HF_HOME=str(home), HF_HUB_OFFLINE="1").value["revision"] == second
    code, out, _ = run("fetch", BASE_16, HF_HUB_OFFLINE="1")
    assert code == 0
    assert f"{BASE_16}: cached whole, in {home}" in out
    assert "no news of it (HF_HUB_OFFLINE is set)" in out


def test_exit_codes(hub: LoopbackHub, run: Run, home: Path, tmp_path: Path) -> None:
    hub.add(BASE_16, WHOLE)
    hub.add("a/bert", {**WHOLE, "config.json": b'{"model_type": "bert"}'})
    assert run("fetch", "offline", "offline/voc")[:2] == (
        0,
        "The offline backbone is embedded: there is nothing to download.\n",
    )
    for wrong, text in {
        "paper/vox": "expected a preset out of offline, ",
        "nobody/nothing": "the hub has no such model",
        "a/bert": "of type clip, open_clip, siglip, sam, sam_hq, sam2, sam2_video, got 'bert'",
        str(tmp_path): "it can be loaded as it is",
        "one": "or a hub name like",
    }.items():
        code, out, err = run("fetch", wrong)
        assert (code, err.count("\n")) == (2, 1)
        assert text in err
    code, out, err = run("fetch", "paper/voc")  # one of its two models is not there
    assert code == 1
    assert err.startswith(f"carlab: error: expected '{LARGE_14}' from the model hub, got nothing")
    assert "set HF_HUB_CACHE" in out
    assert call(found, BASE_16, HF_HOME=str(home), HF_HUB_OFFLINE="1").value


def test_a_full_disk(hub: LoopbackHub, run: Run, home: Path) -> None:
    hub.add(BASE_16, WHOLE)
    hub.add(LARGE_14, WHOLE)
    code, _, err = run("paper/voc", function=fetch_on_a_full_disk)
    assert (code, err.count("\n"), home.exists()) == (2, 1, False)
    assert f"expected {size_text(2 * BYTES)} of free space" in err


def test_models_says_what_is_whole_and_what_is_half(hub: LoopbackHub, run: Run, home: Path) -> None:
    sam = "a/sam-tiny"
    hub.add(BASE_16, WHOLE)
    hub.add(sam, SAM)
    hub.add("a/bert", {**WHOLE, "config.json": b'{"model_type": "bert"}'})
    run("fetch", BASE_16)
    hub.cut = ("model.safetensors", 200_000)
    code, _, err = run("fetch", sam)
    assert (code, err.count("\n")) == (2, 1)
    old_layout(home / "transformers", WHOLE)
    (home / "hub" / "models--a--bert" / "snapshots" / "1").mkdir(parents=True)
    (home / "hub" / "models--a--bert" / "snapshots" / "1" / "config.json").write_text(
        json.dumps({"model_type": "bert"})
    )
    hub.log.clear()
    code, out, err = run("models")
    assert (code, err, hub.log) == (0, "", [])
    lines = out.split("\npresets")[0].splitlines()
    assert len([line for line in lines if line.startswith(BASE_16) and "whole: main" in line]) == 2
    (half,) = [line for line in lines if line.startswith(sam)]
    assert re.search(r"half there, without model.safetensors or pytorch_model.bin +200 kB", half)
    assert "bert" not in out
    assert f"{BASE_16} (cached) x {LARGE_14} (to be downloaded)" in out
    hub.heal()
    run("fetch", sam)
    assert hub.requests("bytes=200000-")
    assert re.search(rf"{sam} +whole: main +320 kB", run("models")[1])
