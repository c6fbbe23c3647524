"""`carlab demo`: segment four real images with the embedded backbone, without a network."""

from pathlib import Path
from typing import Annotated

import typer

from carlab.cli import options

QUERIES = {
    "chelsea": ("cat", ["cat", "dog", "rabbit", "sofa"]),
    "coffee": ("coffee", ["coffee cup", "spoon", "laptop", "dog"]),
    "rocket": ("rocket", ["rocket", "car", "banana", "cat"]),
    "astronaut": ("astronaut", ["space shuttle", "flag", "bicycle", "dog", "sofa"]),
}
"""Images that scikit-image ships: file name, and queries of which some are present and some are not."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("out"),
    threads: options.Threads = None,
) -> None:
    """Segment four images that ship with scikit-image; write figures and traces."""
    from skimage import data

    import carlab
    from carlab.cli.segment import write
    from carlab.files.archive import make_folder

    make_folder(out)
    options.announce("loading the offline preset, 4 images to segment")
    for source, (name, queries) in QUERIES.items():
        trace = carlab.segment(getattr(data, source)(), queries)
        typer.echo(f"=== {name} ===\n{trace}\n")
        write(trace, out, name, figures=True)
    typer.echo(f"Figures and traces are in {out.resolve()}; try: carlab show {out}/cat.trace.safetensors")
