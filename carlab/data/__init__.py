"""Facts that ship with carlab: background vocabularies, templates, ImageNet class names and definitions.

The names and definitions are WordNet 3.0's. Which of the classes people wear is written down by hand.
"""

from importlib.resources import files


def lines(name: str) -> tuple[str, ...]:
    """Return the lines of one of the text files here."""
    return tuple((files(__name__) / name).read_text(encoding="utf-8").splitlines())
