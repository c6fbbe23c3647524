"""Run any number of damaged inputs: `python -m tests.torture --inputs 1000000`; exit code 1 if one fails.

An input is named by its target and a number, which make it again: `--target trace --first 8123 --inputs 1`.
"""

import argparse
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from time import monotonic

from tests.torture.targets import TARGETS, attempt

SECONDS = 20
"""For one input; more counts as one that hangs."""
MOST_SHOWN = 20


def main() -> int:
    """Run the inputs, print what fails, and how many could be read."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.torture")
    parser.add_argument("--inputs", type=int, default=10_000, help="how many, over all targets")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--target", choices=TARGETS, help="one target alone")
    asked = parser.parse_args()
    names = [asked.target] if asked.target else list(TARGETS)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, hangs)
    failed, read, start = 0, dict.fromkeys(names, 0), monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.first, asked.first + asked.inputs):
            name = names[number % len(names)]
            place = Path(folder, name)
            place.mkdir(exist_ok=True)
            signal.alarm(SECONDS)
            try:
                read[name] += attempt(name, number, place)
            except Exception:
                failed += 1
                if failed <= MOST_SHOWN:
                    print(f"--- {name} {number}\n{traceback.format_exc(limit=-4)}", flush=True)
            signal.alarm(0)
    seconds = monotonic() - start
    whole = ", ".join(f"{name} {count}" for name, count in read.items())
    print(f"{asked.inputs} inputs in {seconds:.0f} s, {failed} failed; could be read: {whole}")
    return int(failed > 0)


def hangs(*_: object) -> None:
    """Raise in the input that takes too long."""
    raise TimeoutError(f"more than {SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
