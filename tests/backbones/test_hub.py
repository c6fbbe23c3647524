"""Loading by name against a hub on the loopback, each time in a process of its own."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from carlab.backbones.clip import Clip
from carlab.backbones.download import HUB_SECONDS
from carlab.backbones.sam import load_sam
from tests.backbones.elsewhere import (
    Outcome,
    cached_by_transformers,
    call,
    fetched,
    found,
    hub_file,
    loaded,
    on_a_full_disk,
    sam_loaded,
)
from tests.backbones.loopback_hub import SILENCE, Files, LoopbackHub
from tests.tiny_sam import save_tiny_sam

NAME = "openai/clip-vit-base-patch16"
SHORT = 1.0
"""In place of `HUB_SECONDS` where it is not what is tested."""


# --- a hub, and what a process of its own does with it ------------------------------------------------


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub().serving() as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ask(hub: LoopbackHub, home: Path) -> Callable[..., Outcome]:
    """Call a function in a new process with an empty cache at `home`, and the hub."""

    def asked(function: Callable[..., Any], *arguments: Any, **environment: str) -> Outcome:
        return call(function, *arguments, **{"HF_HOME": str(home), "HF_ENDPOINT": hub.url, **environment})

    return asked


Ask = Callable[..., Outcome]
NOWHERE = "http://127.0.0.1:9"


def one_line(outcome: Outcome) -> str:
    """The one line of an error."""
    assert outcome.error == "BackboneError", outcome
    assert "\n" not in outcome.text
    assert outcome.text.startswith("expected")
    return outcome.text


def repository(home: Path) -> Path:
    return home / "hub" / "models--openai--clip-vit-base-patch16"


def tensors(seed: float = 0.0, rows: int = 40) -> dict[str, torch.Tensor]:
    return {f"part{number}": torch.full((rows,), seed + number) for number in range(4)}


def as_bin(weights: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(weights, stream)
    return stream.getvalue()


def shards(suffix: str, packed: Callable[[dict[str, torch.Tensor]], bytes]) -> Files:
    """Weights of two shards with their index."""
    name = "model" if suffix == "safetensors" else "pytorch_model"
    parts = [dict(list(tensors().items())[:3]), dict(list(tensors().items())[3:])]
    names = [f"{name}-{number}-of-00002.{suffix}" for number in ("00001", "00002")]
    places = {key: shard for shard, part in zip(names, parts, strict=True) for key in part}
    index = json.dumps({"metadata": {}, "weight_map": places}).encode()
    return {f"{name}.{suffix}.index.json": index, **dict(zip(names, map(packed, parts), strict=True))}


SMALL: Files = {
    "config.json": b'{"model_type": "clip"}',
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"#version: 0.2\n",
    "tokenizer_config.json": b"{}",
    "preprocessor_config.json": b'{"size": 64}',
}
SAFE: Files = {"model.safetensors": save(tensors())}
BIN: Files = {"pytorch_model.bin": as_bin(tensors())}
UNWANTED: Files = {
    **{"README.md": b"read me", "flax_model.msgpack": b"flax", "tf_model.h5": b"tf"},
    **{"rust_model.ot": b"rust", "onnx/model.onnx": b"onnx", ".gitattributes": b""},
}
OPEN_CLIP: Files = {
    **{"open_clip_config.json": b'{"model_cfg": {"embed_dim": 512}}', "tokenizer.json": b"{}"},
    **{"open_clip_model.safetensors": save(tensors()), "open_clip_pytorch_model.bin": as_bin(tensors())},
}
FORMATS: dict[str, tuple[Files, list[str]]] = {
    "safetensors": ({**SMALL, **SAFE, **BIN}, ["model.safetensors"]),
    "bin only": ({**SMALL, **BIN}, ["pytorch_model.bin"]),
    "safetensors in shards": (
        {**SMALL, **shards("safetensors", save)},
        [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)],
    ),
    "bin in shards": (
        {**SMALL, **shards("bin", as_bin)},
        [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)],
    ),
    "bin of old": ({**SMALL, "pytorch_model.bin": b""}, ["pytorch_model.bin"]),
    "open_clip": (OPEN_CLIP, ["open_clip_model.safetensors"]),
    "open_clip and transformers": ({**SMALL, **BIN, **OPEN_CLIP}, ["pytorch_model.bin"]),
    "open_clip and timm": (
        {**OPEN_CLIP, **SAFE, "config.json": b'{"architecture": "vit_base_patch16_clip_224"}'},
        ["open_clip_model.safetensors"],
    ),
    "SAM": (
        {"config.json": b'{"model_type": "sam_hq"}', "preprocessor_config.json": b"{}", **SAFE},
        ["model.safetensors"],
    ),
}
old = io.BytesIO()
torch.save(tensors(), old, _use_new_zipfile_serialization=False)
FORMATS["bin of old"][0]["pytorch_model.bin"] = old.getvalue()


# --- once online, then never again ---------------------------------------------------------------------


def test_the_proposer_of_every_preset(
    hub: LoopbackHub, ask: Ask, clip_folders: tuple[Path, Path], load_tiny: Callable[..., Clip]
) -> None:
    """A .bin alone on main: downloaded once, then loaded without any request, be there a hub or not."""
    files = {path.name: path.read_bytes() for path in clip_folders[0].iterdir()}
    weights = as_bin(load_file(clip_folders[0] / "model.safetensors"))
    del files["model.safetensors"]
    commit = hub.add(NAME, {**files, "pytorch_model.bin": weights, **UNWANTED})
    first = ask(loaded, NAME)
    assert first.value, first
    assert first.value["sha256"] == load_tiny().sha256
    assert first.value["text"] == str(load_tiny().encode_text(["a red car"])[0, :3])
    assert first.value["source"] == f"pytorch_model.bin at {commit[:8]} sha256 {sha256(weights).hexdigest()}"
    assert not [name for name in UNWANTED if hub.requests(f"/{name}")]
    hub.log.clear()
    for flags in ({}, {"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "1"}, {"HF_ENDPOINT": NOWHERE}):
        assert ask(loaded, NAME, **flags).value == first.value
    assert hub.log == []


def test_sam_goes_the_same_way(hub: LoopbackHub, ask: Ask, tmp_path: Path) -> None:
    folder = save_tiny_sam(tmp_path / "sam", hq=True)
    hub.add("a/sam", {path.name: path.read_bytes() for path in folder.iterdir()})
    first = ask(sam_loaded, "a/sam")
    assert first.value, first
    assert first.value == (
        load_sam(str(folder)).sha256,
        ask(found, "a/sam", HF_HUB_OFFLINE="1").value["source"],
    )
    assert 'or use "superpixels"' in one_line(ask(sam_loaded, "a/nothing"))


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_chosen_and_downloaded(hub: LoopbackHub, ask: Ask, format: str) -> None:
    files, weights = FORMATS[format]
    hub.add(NAME, {**files, **UNWANTED})
    first = ask(found, NAME)
    assert first.value, first
    assert first.value["weights"] == weights
    assert first.value["tensors"] == {name: tensor.tolist() for name, tensor in tensors().items()}
    large = {line.split("/")[-1] for line in hub.requests("GET /storage")}
    assert large == set(weights)
    hub.log.clear()
    assert ask(found, NAME).value == first.value
    assert hub.log == []


# --- what broke off is gone on with --------------------------------------------------------------------

WHOLE: Files = {**SMALL, **SAFE}
SIZE = len(SAFE["model.safetensors"])
CUTS = [
    *(("config.json", 9), ("vocab.json", 0), ("merges.txt", 5)),
    *(("model.safetensors", byte) for byte in (0, 1, 8, 100, SIZE // 2, SIZE - 64, SIZE - 1)),
]
"""Ten places: files, and bytes of them that still come."""


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut[0]} at {cut[1]}")
def test_cut_off_at_ten_places(hub: LoopbackHub, ask: Ask, cut: tuple[str, int]) -> None:
    """The hub is gone with the connection: one line. Once it is back, the rest is asked for, and no more."""
    hub.add(NAME, WHOLE)
    hub.cut = cut
    text = one_line(ask(found, NAME, SHORT))
    assert text.startswith(f"expected '{NAME}' from the model hub, got nothing")
    assert "what has come so far is kept" in text or cut[0] == "config.json"
    if cut[1] == SIZE // 2:
        text = one_line(ask(found, NAME, HF_HUB_OFFLINE="1"))
        assert "HF_HUB_OFFLINE is set; the cache has it without model.safetensors" in text
    hub.heal()
    hub.log.clear()
    again = ask(found, NAME)
    assert again.value, again
    if cut[1] and cut[0] != "config.json":  # read before anything is written
        assert len(hub.requests(f"{cut[0]} bytes={cut[1]}-")) == 1 + cut[0].endswith(
            "safetensors"
        )  # redirected
    hub.log.clear()
    assert ask(found, NAME, HF_HUB_OFFLINE="1").value == again.value
    assert hub.log == []


def test_a_connection_that_breaks_is_made_again(hub: LoopbackHub, ask: Ask) -> None:
    hub.add(NAME, WHOLE)
    hub.cut, hub.dies = ("model.safetensors", SIZE // 2), False
    assert ask(found, NAME).value
    assert hub.requests(f"GET /storage/{NAME}/main/model.safetensors bytes={SIZE // 2}-")


def test_a_slow_download_is_no_error(hub: LoopbackHub, ask: Ask) -> None:
    hub.add(NAME, WHOLE)
    hub.slow = 0.2
    outcome = ask(found, NAME, SHORT)
    assert outcome.value, outcome
    assert outcome.seconds > 2 * SHORT
    assert len(hub.requests("GET /storage")) == 1


def test_what_huggingface_hub_left_is_gone_on_with(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    """Versions before 1.18 kept the bytes under this name; so does a file that was cut in the cache."""
    commit = hub.add(NAME, WHOLE)
    content = WHOLE["model.safetensors"]
    blobs = repository(home) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(content).hexdigest()}.incomplete").write_bytes(content[:100])
    assert ask(found, NAME).value
    assert hub.requests("bytes=100-")
    (repository(home) / "snapshots" / commit / "model.safetensors").resolve().write_bytes(content[:50])
    assert "without a whole model.safetensors" in one_line(ask(found, NAME, HF_HUB_OFFLINE="1"))
    assert ask(found, NAME).value
    assert hub.requests("bytes=50-")


def test_two_processes_at_once(hub: LoopbackHub, ask: Ask) -> None:
    hub.add(NAME, WHOLE)
    hub.slow = 0.05
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: ask(found, NAME), range(2)))
    assert outcomes[0].value == outcomes[1].value != None  # noqa: E711
    assert len(hub.requests("GET /storage")) == 1


# --- what other programs cached -------------------------------------------------------------------------


def test_what_transformers_cached_is_used(
    hub: LoopbackHub, ask: Ask, clip_folders: tuple[Path, Path], load_tiny: Callable[..., Clip]
) -> None:
    """transformers itself fetches the bot's safetensors, which lie in another snapshot than the rest."""
    files = {path.name: path.read_bytes() for path in clip_folders[0].iterdir()}
    safe = files.pop("model.safetensors")
    hub.add(NAME, {**files, "pytorch_model.bin": as_bin(load_file(clip_folders[0] / "model.safetensors"))})
    bot = hub.add(NAME, {**files, "model.safetensors": safe}, "refs/pr/1")
    assert ask(cached_by_transformers, NAME).value
    hub.log.clear()
    outcome = ask(loaded, NAME)
    assert outcome.value, outcome
    assert outcome.value["sha256"] == load_tiny().sha256
    assert outcome.value["source"].startswith(f"model.safetensors at {bot[:8]}")
    assert hub.log == []


def test_weights_of_the_bot_are_not_downloaded_twice(hub: LoopbackHub, ask: Ask) -> None:
    """Another program took configuration and weights, and no tokenizer: that alone is missing."""
    hub.add(NAME, {**SMALL, **BIN})
    bot = hub.add(NAME, {**SMALL, **SAFE}, "refs/pr/1")
    assert ask(hub_file, NAME, "config.json").value
    assert ask(hub_file, NAME, "model.safetensors", "refs/pr/1").value
    hub.log.clear()
    assert ask(found, NAME).value["source"].startswith(f"model.safetensors at {bot[:8]}")
    assert hub.requests("vocab.json")
    assert not hub.requests("/storage/")
    # Where main has moved, the weights may be others.
    hub.add(NAME, {**SMALL, **BIN, "added_tokens.json": b"{}"})
    assert ask(fetched, NAME).value == ["pytorch_model.bin"]


def test_a_pull_request_asked_for_by_name_is_not_main(hub: LoopbackHub, ask: Ask) -> None:
    hub.add(NAME, {**SMALL, **BIN})
    other = hub.add(NAME, {**SMALL, "model.safetensors": save(tensors(9.0))}, "refs/pr/1")
    assert ask(found, f"{NAME}@refs/pr/1").value["revision"] == other
    assert "got nothing" in one_line(ask(found, NAME, HF_HUB_OFFLINE="1"))
    assert ask(found, NAME).value["weights"] == ["pytorch_model.bin"]


def test_revisions(hub: LoopbackHub, ask: Ask) -> None:
    first = hub.add(NAME, WHOLE)
    hub.add(NAME, {**SMALL, "model.safetensors": save(tensors(5.0))}, "v2")
    by_commit, by_tag = ask(found, f"{NAME}@{first}").value, ask(found, f"{NAME}@v2").value
    assert (by_commit["tensors"]["part0"][0], by_tag["tensors"]["part0"][0]) == (0.0, 5.0)
    hub.log.clear()
    for name, value in ((f"{NAME}@{first}", by_commit), (f"{NAME}@v2", by_tag)):
        assert ask(found, name).value == value
    assert hub.log == []
    # Main was never asked for by its name, but this commit has no other one.
    assert ask(found, NAME, HF_HUB_OFFLINE="1").value == by_commit
    assert "no such model, revision or file" in one_line(ask(found, f"{NAME}@v3"))


def test_main_has_moved(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    first = hub.add(NAME, WHOLE)
    assert ask(found, NAME).value["revision"] == first
    second = hub.add(NAME, {**SMALL, "model.safetensors": save(tensors(1.0))})
    hub.log.clear()
    assert ask(found, NAME).value["revision"] == first  # cached whole: nobody is asked
    assert hub.log == []
    assert ask(hub_file, NAME, "config.json").value  # another program moves the name on, and takes one file
    assert (repository(home) / "refs" / "main").read_text() == second
    for flags in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": NOWHERE}):
        assert ask(found, NAME, **flags).value["revision"] == first
    assert ask(found, NAME).value["tensors"]["part0"][0] == 1.0


def test_a_configuration_is_no_model(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    hub.add(NAME, WHOLE)
    assert ask(hub_file, NAME, "config.json").value
    text = one_line(ask(found, NAME, HF_HUB_OFFLINE="1"))
    assert "HF_HUB_OFFLINE is set" in text
    assert "the cache has it without model.safetensors or pytorch_model.bin, a tokenizer" in text
    assert ask(found, NAME).value
    (
        repository(home) / "blobs" / sha256(WHOLE["model.safetensors"]).hexdigest()
    ).unlink()  # a link to nothing
    hub.log.clear()
    assert ask(found, NAME).value
    assert hub.requests("GET /storage")


PLACES = {
    "HF_HOME": ("HF_HOME", "hub"),
    "HF_HUB_CACHE": ("HF_HUB_CACHE", ""),
    "HUGGINGFACE_HUB_CACHE": ("HUGGINGFACE_HUB_CACHE", ""),
    "TRANSFORMERS_CACHE": ("TRANSFORMERS_CACHE", ""),
    "XDG_CACHE_HOME": ("XDG_CACHE_HOME", "huggingface/hub"),
}


@pytest.mark.parametrize("place", PLACES)
def test_caches_in_every_place(ask: Ask, hub: LoopbackHub, home: Path, tmp_path: Path, place: str) -> None:
    variable, below = PLACES[place]
    hub.add(NAME, WHOLE)
    first = ask(found, NAME).value
    shutil.move(home / "hub", tmp_path / "moved" / below)
    places = {variable: str(tmp_path / "moved")}
    if place == "XDG_CACHE_HOME":
        outcome = call(found, NAME, HF_HUB_OFFLINE="1", **places)
    else:
        outcome = ask(found, NAME, HF_HUB_OFFLINE="1", **places)
    assert outcome.value == first, outcome


def old_layout(cache: Path, files: Files, revision: str = "main", etag: str = "1") -> None:
    """Put files into a cache as `get_from_cache` of transformers 4.6 to 4.21 did."""
    cache.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        url = f"https://huggingface.co/{NAME}/resolve/{revision}/{name}"
        path = cache / f"{sha256(url.encode()).hexdigest()}.{sha256(etag.encode()).hexdigest()}"
        path.write_bytes(content)
        path.with_name(f"{path.name}.json").write_text(json.dumps({"url": url, "etag": etag}))
        path.with_name(f"{path.name}.lock").touch()


@pytest.mark.parametrize("place", ["HF_HOME", "TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE"])
def test_caches_of_2021(hub: LoopbackHub, ask: Ask, home: Path, tmp_path: Path, place: str) -> None:
    cache = home / "transformers" if place == "HF_HOME" else tmp_path / "old"
    old_layout(cache, {**SMALL, "pytorch_model.bin": as_bin(tensors(3.0))}, etag='"older"')
    for path in cache.iterdir():
        os.utime(path, (1, 1))
    old_layout(cache, BIN)
    flags = {} if place == "HF_HOME" else {place: str(cache)}
    outcome = ask(found, NAME, **flags)
    assert outcome.value, outcome
    assert outcome.value["tensors"]["part0"][0] == 0.0
    assert (
        outcome.value["source"] == f"pytorch_model.bin sha256 {sha256(BIN['pytorch_model.bin']).hexdigest()}"
    )
    assert {*SMALL} < {*outcome.value["files"]}
    assert hub.log == []
    assert "got nothing" in one_line(ask(found, f"{NAME}@v2", HF_HUB_OFFLINE="1", **flags))
    next(path for path in cache.glob("*.json") if "vocab" in path.read_text()).unlink()
    assert "without a tokenizer" in one_line(ask(found, NAME, HF_HUB_OFFLINE="1", **flags))


# --- one line for everything that can go wrong ------------------------------------------------------------

REFUSALS: dict[str, tuple[str, int, dict[str, str], str]] = {
    "gated": (
        "/resolve/",
        401,
        {"X-Error-Code": "GatedRepo"},
        "401: if the name is right, accept the licence at",
    ),
    "not allowed": ("/api/", 401, {}, "and set HF_TOKEN to a token of yours"),
    "forbidden": ("/storage/", 403, {}, "403: if the name is right, accept the licence"),
    "too many requests": ("/api/", 429, {"Retry-After": "77"}, "429: try again in 77 s"),
    "too many files": ("/resolve/", 429, {}, "429: try again later"),
    "a hub in trouble": ("/api/", 503, {}, "503"),
    "storage in trouble": ("/storage/", 500, {}, "500"),
    "no such file": ("/storage/", 404, {}, "no such model, revision or file"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals(hub: LoopbackHub, ask: Ask, refusal: str) -> None:
    where, status, headers, text = REFUSALS[refusal]
    hub.add(NAME, WHOLE)
    hub.refuse = {where: (status, headers)}
    assert text in one_line(ask(found, NAME))
    hub.heal()
    assert ask(found, NAME).value


@pytest.mark.parametrize("place", ["/api/", "HEAD ", "GET /openai", "GET /storage"])
def test_a_hub_that_says_nothing(hub: LoopbackHub, ask: Ask, place: str) -> None:
    hub.add(NAME, WHOLE)
    hub.silent = place
    outcome = ask(found, NAME)
    one_line(outcome)
    assert outcome.seconds < SILENCE, "it waited for as long as the hub did"
    assert len(hub.requests(place)) == 1, "a hub that does not answer is asked once"
    assert HUB_SECONDS < 10


def test_no_hub(ask: Ask) -> None:
    text = one_line(ask(found, NAME, HF_ENDPOINT=NOWHERE))
    assert "refused" in text
    assert 'give a local folder with the checkpoint, or use "offline"' in text


def test_no_such_model(ask: Ask) -> None:
    assert "the hub has no such model" in one_line(ask(found, "nobody/nothing"))


def test_a_wrong_checksum(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    hub.add(NAME, WHOLE)
    hub.lies = {"model.safetensors": save(tensors(7.0))}
    assert "model.safetensors has a wrong checksum and was deleted" in one_line(ask(found, NAME))
    digest = sha256(WHOLE["model.safetensors"]).hexdigest()
    assert not list((repository(home) / "blobs").glob(f"{digest}*"))
    hub.heal()
    assert ask(found, NAME).value


INCOMPLETE: dict[str, tuple[Files, str]] = {
    "no tokenizer": ({name: WHOLE[name] for name in WHOLE if name not in ("vocab.json", "merges.txt")},
                     "it has no tokenizer (tokenizer.json, vocab.json and merges.txt, or spiece.model)"),
    "no configuration": ({**SAFE, "vocab.json": b"{}"}, "it has no config.json that can be read"),
    "no weights": (SMALL, "it has no weights that can be read"),
    "a shard is missing": (
        {name: content for name, content in FORMATS["bin in shards"][0].items() if "-00002-of" not in name},
        "it lacks 1 shards that pytorch_model.bin.index.json names (pytorch_model-00002-of-00002.bin, ...)",
    ),
    "a configuration that is no JSON": ({**WHOLE, "config.json": b"<html>"}, "it has no config.json"),
    "an empty repository": ({}, "it has no config.json"),
}  # fmt: skip


@pytest.mark.parametrize("problem", INCOMPLETE)
def test_repositories_that_hold_no_checkpoint(hub: LoopbackHub, ask: Ask, home: Path, problem: str) -> None:
    """Said before anything large is asked for."""
    files, text = INCOMPLETE[problem]
    hub.add(NAME, {**files, **UNWANTED})
    assert text in one_line(ask(found, NAME))
    assert not hub.requests("/storage/")
    assert not home.exists()


def test_another_family(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    hub.add(NAME, {**WHOLE, "config.json": b'{"model_type": "bert"}'})
    text = one_line(ask(loaded, NAME))
    assert "expected a image-text checkpoint of type clip, open_clip, siglip, got 'bert'" in text
    assert not home.exists()


class Hostile:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("packed", [as_bin, pickle.dumps], ids=["torch", "pickle"])
def test_a_hostile_pickle(hub: LoopbackHub, ask: Ask, tmp_path: Path, packed: Callable[..., bytes]) -> None:
    trap = tmp_path / "was-here"
    content = packed({**tensors(), "more": Hostile(trap)})
    hub.add(NAME, {**SMALL, "pytorch_model.bin": content})
    text = one_line(ask(found, NAME))
    assert "expected a file of tensors, got 'pytorch_model.bin'" in text
    assert "posix.system, which could run code; nothing was run" in text or packed is pickle.dumps
    assert not trap.exists()
    pickle.loads(pickle.dumps(Hostile(trap)))  # noqa: S301 - it is one
    assert trap.exists()


def test_names_that_lead_out_of_the_cache(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    hub.add(NAME, WHOLE)
    hub.etag = "../../../../evil"
    assert "which is no hash" in one_line(ask(found, NAME))
    assert not home.exists()


def test_a_full_disk_is_refused_before_anything_is_written(hub: LoopbackHub, ask: Ask, home: Path) -> None:
    hub.add(NAME, WHOLE)
    text = one_line(ask(on_a_full_disk, NAME))
    assert "of free space for what is to be downloaded, got 0 B at" in text
    assert not home.exists()
    assert not hub.requests("GET /storage")


def test_a_cache_that_cannot_be_written(hub: LoopbackHub, ask: Ask, tmp_path: Path) -> None:
    hub.add(NAME, WHOLE)
    (tmp_path / "file").touch()
    assert "got nothing (Not a directory)" in one_line(ask(found, NAME, HF_HOME=str(tmp_path / "file")))


def test_the_token_goes_to_the_hub_alone(hub: LoopbackHub, ask: Ask) -> None:
    hub.add(NAME, WHOLE)
    assert ask(found, NAME, HF_TOKEN="hf_secret").value  # noqa: S106
    seen = {(host.partition(":")[0], token) for host, token in hub.tokens}
    assert seen == {("127.0.0.1", "Bearer hf_secret"), ("localhost", "")}
