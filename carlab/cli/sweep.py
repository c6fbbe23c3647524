"""`carlab sweep`: a grid of settings over a data set, sharing every pass they have in common."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from carlab.cli import options
from carlab.cli.evaluate import finish, load_data, place_named, run_all


def sweep(
    dataset: options.Data,
    root: options.Root,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; each point of the grid is a run in it.")],
    grid: Annotated[
        list[str],
        typer.Option(
            "--grid", "-g", help="Such as theta=.3,.4 or recurrence=on,off; repeat it.", show_default=False
        ),
    ],
    each: Annotated[
        bool, typer.Option("--each", help="One change at a time from the preset, not every combination.")
    ] = False,
    split: options.Split = None,
    limit: options.Limit = None,
    preset: options.Preset = "offline",
    proposer_backbone: Annotated[
        list[str], typer.Option(help="Network of the proposer; repeat it to compare.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    classifier: Annotated[
        list[str], typer.Option(help="Network that scores; repeat it to compare.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    keep_traces: Annotated[str, typer.Option(help="all, none, or worst:NUMBER, of each run.")] = "none",
    engine: options.EngineName = "local",
    workers: options.Workers = 1,
    together: options.Together = 4,
    gpus_per_worker: options.Gpus = None,
    ray_address: options.RayAddress = None,
    form: options.TableFormat = "text",
) -> None:
    """Run every combination of settings, and compare them with the first."""
    from carlab.evaluate.folder import file_name
    from carlab.evaluate.grid import variants
    from carlab.presets import load

    points = variants(grid, each=each)
    data = load_data(dataset, root, split, preset)
    options.announce(f"{len(data)} images of {data.name} {data.split}, {len(points)} settings")
    place, done = place_named(engine, workers, together, device, gpus_per_worker, ray_address), []
    pairs = list(product(proposer_backbone or (None,), classifier or (None,)))
    for f, g in pairs:
        model = partial(load, preset, proposer_backbone=f, classifier=g, device=place.device, dtype=dtype)
        prefix = [] if len(pairs) == 1 else [f"proposer-backbone={f}", f"classifier={g}"]
        plans = {out / file_name(" ".join([*prefix, point.name])): point.settings for point in points}
        done += run_all(data, model, plans, limit=limit, keep_traces=keep_traces, engine=place.engine)
    finish(done, form)
