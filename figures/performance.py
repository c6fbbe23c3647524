"""Run the benchmark and write docs/performance.md: every number of its tables comes from here.

Usage: `python figures/performance.py`; ten minutes on two cores, and nothing else should run.
"""

from measured import run, write

MEASUREMENTS = (
    ("The method, single precision, beside the released schedule", "bench"),
    ("bfloat16", "bench --dtype bfloat16 --no-released"),
    (
        "The offline backbone, a photo of 500 x 375",
        "bench --preset offline -n 6 --width 500 --height 375 --no-released",
    ),
    (
        "Growth with the number of queries, one step",
        "bench --dtype bfloat16 -n 1 -n 5 -n 20 -n 80 --steps 1 --no-released",
    ),
    (
        "12 megapixels and 150 queries",
        "bench --preset offline -n 150 --width 4000 --height 3000 --steps 1 --no-released",
    ),
)

if __name__ == "__main__":
    write(
        "performance.md",
        "performance.py",
        [f"### {title}\n\n    carlab {command}\n{run(command)}" for title, command in MEASUREMENTS],
    )
