"""Damage guided by coverage: `python -m tests.torture.guided image -runs=100000`, with atheris installed.

The first argument is what to read, the others are libFuzzer's. What it finds is written to `crash-*`, and
read again by `python -m tests.torture.guided image crash-...`.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["carlab"]):
    from carlab.errors import CarlabError
    from tests.torture.targets import READERS, check_message


def main() -> None:
    """Start libFuzzer on one reader, from inputs that are whole."""
    warnings.simplefilter("ignore")
    read, seeds = READERS[sys.argv.pop(1)]
    folder = Path(tempfile.mkdtemp(prefix="carlab-torture-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds):
        (corpus / f"{number}").write_bytes(content)

    def once(content: bytes) -> None:
        try:
            read(content, folder)
        except CarlabError as error:
            check_message(error)

    again = any(not argument.startswith("-") for argument in sys.argv[1:])
    atheris.Setup([*sys.argv, *([] if again else [str(corpus)])], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
