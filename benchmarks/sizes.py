"""Print how large pages, traces and notebooks are. Usage: `python -m benchmarks.sizes`."""

import tempfile
from pathlib import Path

from skimage import data

import carlab
from carlab.figures.page import write_page

QUERIES = ["coffee cup", "spoon", "laptop", "dog"]
MANY = [*QUERIES, *(f"thing {k}" for k in range(76))]
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def main() -> None:
    """Print a table."""
    print("| file | kB |\n|---|---:|")
    model = carlab.load("offline")
    with tempfile.TemporaryDirectory() as home:
        for queries, record in ((QUERIES, []), (QUERIES, ["*"]), (MANY, [])):
            trace = model(data.coffee(), queries, record=record)
            about = f"{len(queries)} queries, {len(trace.steps)} steps"
            about += ", every probe recorded" * bool(record)
            row(f"trace, {about}", trace.save(Path(home) / "trace.safetensors"))
            row(f"page of `carlab view`, {about}", write_page(trace, Path(home) / "page.html"))
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        row(f"notebooks/{path.name}", path)


def row(name: str, path: Path) -> None:
    """Print one row of the table."""
    print(f"| {name} | {path.stat().st_size / 1000:.0f} |")


if __name__ == "__main__":
    main()
