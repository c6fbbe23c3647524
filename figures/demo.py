"""`make demo`: real photos, words that are there and words that are not, everything written to out/.

The photos ship inside scikit-image, the models inside Python packages: no
network is needed.
"""

from pathlib import Path

from skimage import data

import carlab
from carlab.figures import overlay_figure, recurrence_figure, save_figure

OUT = Path("out")
PHOTOS = {
    "cat": (data.chelsea, ["cat", "dog", "rabbit", "sofa"]),
    "coffee": (data.coffee, ["coffee cup", "spoon", "laptop", "dog"]),
    "rocket": (data.rocket, ["rocket", "car", "banana", "cat"]),
    "astronaut": (data.astronaut, ["space shuttle", "flag", "bicycle", "dog", "sofa"]),
}


def main() -> None:
    """Segment each photo, print the trace, and write overlay, recurrence and trace file."""
    OUT.mkdir(exist_ok=True)
    for name, (photo, queries) in PHOTOS.items():
        trace = carlab.segment(photo(), queries)
        print(f"=== {name} ===\n{trace}\n")
        save_figure(overlay_figure(trace), OUT / f"{name}.overlay.png")
        save_figure(recurrence_figure(trace), OUT / f"{name}.recurrence.png")
        trace.save(OUT / f"{name}.trace.safetensors")
    print(f"Pictures and traces are in {OUT.resolve()}; try: carlab show {OUT}/cat.trace.safetensors")


if __name__ == "__main__":
    main()
