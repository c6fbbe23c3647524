"""Make `carlab/data/imagenet1k_names.safetensors`: run `python -m benchmarks.class_vectors`.

An ImageNet class is a synset of WordNet 3.0: some synonyms, and a definition. Names alone say too little:
that a jersey is worn by people stands only in its definition. Encoding some six thousand phrases takes a
minute, so the package ships the result: the sentence vector of each class (half the mean over its synonyms,
half "name: definition"), relative to their common centre, and the centre.

ImageNet has next to no class for people, but many for what people wear. So a few words for people have
vectors too, and stand for the classes that are worn.
"""

from importlib.resources import files

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from carlab.backbones.offline import CLASS_NAMES, PEOPLE, class_names
from carlab.backbones.sentences import SentenceEncoder, load_sentences
from carlab.data import lines


def definitions() -> list[str]:
    """Return the definition of every ImageNet class, in index order."""
    return list(lines("imagenet1k_definitions.txt"))


def name_vectors(sentences: SentenceEncoder) -> dict[str, Float[Tensor, "..."]]:
    """Return `names` (k, e) and `people` (p, e), unit norm, and `centre` (e,)."""
    classes = class_names()
    words = sorted({word for synonyms in classes for word in synonyms})
    origin = torch.zeros(sentences.model.config.hidden_size)
    vectors = dict(zip(words, sentences.encode(words, origin), strict=True))
    named = torch.stack([torch.stack([vectors[word] for word in synonyms]).mean(0) for synonyms in classes])
    defined = sentences.embed(
        [f"{synonyms[0]}: {text}" for synonyms, text in zip(classes, definitions(), strict=True)]
    )
    both = (named + defined) / 2
    centre = both.mean(0)
    return {
        "names": functional.normalize(both - centre, dim=-1),
        "people": sentences.encode(PEOPLE, centre),
        "centre": centre,
    }


if __name__ == "__main__":
    made = name_vectors(load_sentences(torch.device("cpu")))
    target = files("carlab.data") / CLASS_NAMES
    save_file({name: value.half().contiguous() for name, value in made.items()}, str(target))
