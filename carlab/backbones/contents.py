"""Which files make a checkpoint, and whether they are whole. Reads neither weights nor network."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

from carlab.files.archive import read_header
from carlab.files.opening import open_file, read_file
from carlab.files.schema import parse_plain

SHARD_INDEX = ".index.json"
"""Ending of a file that names the shards of the weights."""
WEIGHTS_OF = {
    "config.json": (
        *("model.safetensors", f"model.safetensors{SHARD_INDEX}"),
        *("pytorch_model.bin", f"pytorch_model.bin{SHARD_INDEX}"),
    ),
    "open_clip_config.json": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
}
"""Weights that go with a configuration, the ones to prefer first."""
FORMAT_KEYS = {"config.json": "model_type", "open_clip_config.json": "model_cfg"}
"""What a configuration must have: timm writes a config.json too, without a model type."""
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
"""Vocabularies, of which one is enough."""
TOKENIZER = "tokenizer (tokenizer.json, vocab.json and merges.txt, or spiece.model)"
TOKENIZER_NOTES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
WITHOUT_TEXT = ("sam", "sam_hq", "sam2", "sam2_video")
OPEN_CLIP = "open_clip"

SMALL_FILES = (
    *WEIGHTS_OF,
    *(name for names in TOKENIZERS for name in names),
    *TOKENIZER_NOTES,
    *PREPROCESSORS,
)
MOST_WEIGHTS = 2**40
"""Bytes of a file of weights."""
TAIL = 64
"""Bytes in which the end of a JSON text is sought."""


class Contents(NamedTuple):
    """What a set of files holds of a checkpoint.

    Parameters
    ----------
    config, weights
        The configuration, and names of the weights files.
    lacking
        What a checkpoint must have and this one has not, or not whole.
    unsure
        Files that are not there, and that a repository of this kind may have or not.
    """

    config: dict[str, Any]
    weights: tuple[str, ...]
    lacking: tuple[str, ...]
    unsure: tuple[str, ...]


def inspect(files: Mapping[str, Path]) -> Contents:
    """Return what files, by name, hold of a checkpoint."""
    whole = {name for name in relevant(files) if is_whole(name, files[name])}
    shards = {name: shards_of(files[name]) for name in whole if name.endswith(SHARD_INDEX)}
    usable = {name for name in whole if whole.issuperset(shards.get(name, ()))}
    config, chosen = choose({name: read_config(files[name]) for name in WEIGHTS_OF if name in whole}, usable)
    kind = kind_of(config)
    lacking = [] if config else ["config.json"]
    if chosen is None:
        lacking.append(_weights_lacking(files, kind))
    if needs_tokenizer(kind) and not has_tokenizer(whole):
        lacking.append(f"a {TOKENIZER}")
    preprocessor = whole.intersection(PREPROCESSORS)
    if kind in WITHOUT_TEXT and not preprocessor:
        lacking.append(PREPROCESSORS[0])
    unsure = [] if preprocessor else [PREPROCESSORS[0]]
    if kind not in WITHOUT_TEXT:
        unsure += [name for name in TOKENIZER_NOTES[:1] if name not in whole]
        unsure += [] if has_tokenizer(whole) else [names[0] for names in TOKENIZERS]
    weights = () if chosen is None else tuple(shards.get(chosen, (chosen,)))
    return Contents(config, weights, tuple(lacking), tuple(unsure))


def choose(configs: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], str | None]:
    """Return the configuration and the weights to load: transformers' format first, safetensors first."""
    fitting = {
        name: configs[name]
        for name in WEIGHTS_OF
        if isinstance(configs.get(name), dict) and FORMAT_KEYS[name] in configs[name]
    }
    for name, config in fitting.items():
        for weights in WEIGHTS_OF[name]:
            if weights in names:
                return config, weights
    return next(iter(fitting.values()), {}), None


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the model type that transformers gives a configuration, or "open_clip"."""
    return str(config.get("model_type", OPEN_CLIP if config else ""))


def needs_tokenizer(kind: str) -> bool:
    """Whether a checkpoint is nothing without a tokenizer; open_clip's own format may do without."""
    return kind not in (*WITHOUT_TEXT, OPEN_CLIP)


def has_tokenizer(names: Collection[str]) -> bool:
    """Whether the vocabulary of a tokenizer is among the files."""
    return any(set(some) <= set(names) for some in TOKENIZERS)


def small_files(kind: str, names: Collection[str]) -> list[str]:
    """Return what a checkpoint needs out of a repository's files besides configuration and weights."""
    needed = list(PREPROCESSORS)
    if kind not in WITHOUT_TEXT:
        vocabulary = next((some for some in TOKENIZERS if set(some) <= set(names)), ())
        needed += [*vocabulary, *TOKENIZER_NOTES]
    return [name for name in needed if name in names]


def relevant(names: Iterable[str]) -> list[str]:
    """Return the names that a checkpoint may be made of: small files, weights, shards."""
    return [
        name for name in names if name in SMALL_FILES or name.endswith((SHARD_INDEX, ".safetensors", ".bin"))
    ]


def shards_of(index: Path) -> tuple[str, ...]:
    """Return the names of the shards in an index file, none if it is no index."""
    return shard_names(read_config(index))


def shard_names(index: Any) -> tuple[str, ...]:
    """Return the names of the shards in the content of an index file."""
    places = index.get("weight_map") if isinstance(index, dict) else None
    return tuple(sorted(set(map(str, places.values())))) if isinstance(places, dict) else ()


def is_whole(name: str, path: Path) -> bool:
    """Whether a file is there and was not cut, by its head and tail; checksums are checked while downloading.

    `name` says what the file is: caches of old name files by hashes.
    """
    try:
        with open_file(path, MOST_WEIGHTS) as stream:
            size = os.fstat(stream.fileno()).st_size
            if name.endswith(".safetensors"):
                return size == read_header(stream).size
            if name.endswith(".bin"):  # the pickles of torch before 1.6 have no end to look at
                return is_zipfile(stream) or (stream.seek(0) == 0 and stream.read(1) == b"\x80")
            if name.endswith(".json"):
                stream.seek(max(size - TAIL, 0))
                return stream.read().rstrip().endswith((b"}", b"]"))
            return size > 0
    except (OSError, ValueError):
        return False


def read_config(path: Path) -> Any:
    """Return the content of a JSON file, None if it is not JSON."""
    try:
        return parse_plain(read_file(path))
    except (OSError, ValueError):
        return None


def _weights_lacking(files: Mapping[str, Path], kind: str) -> str:
    names = WEIGHTS_OF["open_clip_config.json" if kind == OPEN_CLIP else "config.json"]
    cut = [name for name in names if name in files]
    if not cut:
        return f"{names[0]} or {names[-1].removesuffix(SHARD_INDEX)}"
    return f"every shard of {cut[0]}" if cut[0].endswith(SHARD_INDEX) else f"a whole {cut[0]}"
