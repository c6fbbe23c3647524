"""The engine for many machines, on a cluster of three nodes on this one."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import numpy as np
import pytest

from carlab.datasets import Dataset, Sample, load_dataset
from carlab.errors import BackboneError, SettingError
from carlab.evaluate.machines import DEATHS, OnRay
from carlab.recurrence import ClipAsRnn
from tests.conftest import build_tiny
from tests.evaluate.conftest import PICTURES
from tests.evaluate.helpers import assert_alike, numbers, run

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
TRIALS = 8

Load = Callable[[], ClipAsRnn]


@pytest.fixture
def dataset(root: Path) -> Dataset:
    """Opened again by each worker: the checks of array types, switched on in the tests, cannot travel."""

    def find(identity: str) -> Sample:
        return load_dataset("folder", root).find(identity)

    return replace(load_dataset("folder", root), find=find)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes with a CPU each, on one of which is this process; `OnRay` connects to it by its address."""
    made = cluster_utils.Cluster()
    for _ in range(3):
        add_node(made)
    yield made
    ray.shutdown()
    made.shutdown()


def add_node(cluster: Any, **resources: Any) -> Any:
    """A node, without what people look at; tried again: Ray gives its own processes 15 seconds to start."""
    light = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    for trial in range(TRIALS):
        try:
            node = cluster.add_node(**light, **resources)
        except Exception as error:
            if trial == TRIALS - 1 or "timed out during startup" not in str(error):
                raise
        else:
            break
    cluster.wait_for_nodes(timeout=120)
    return node


@pytest.fixture
def on_ray(cluster: Any) -> Callable[..., OnRay]:
    """The engine on that cluster; that a worker is slow to start on a busy machine is no error."""
    return partial(OnRay, workers=2, together=2, address=cluster.address, say=print)


@pytest.fixture
def load(clip_folders: tuple[Path, Path]) -> Load:
    """Loads the tiny model where it is called."""
    return partial(build_tiny, clip_folders)


def test_no_room_no_cluster_no_weights(
    dataset: Dataset, load: Load, on_ray: Callable[..., OnRay], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(SettingError, match="running Ray cluster at '127.0.0.1:1', got none"):
        run(dataset, load, out, engine=partial(on_ray, address="127.0.0.1:1"))
    with pytest.raises(SettingError, match="room for a worker of 1 GPU, got 3 CPUs and 0 GPUs"):
        run(dataset, load, out, engine=partial(on_ray, gpus=1.0))

    def lost() -> ClipAsRnn:
        raise BackboneError(f"expected weights in process {os.getpid()}")

    with pytest.raises(BackboneError, match="expected weights") as raised:
        run(dataset, lost, out, engine=on_ray)
    assert str(os.getpid()) not in str(raised.value)
    assert not out.exists()


def until(true: Callable[[], bool]) -> None:
    """Wait, five minutes at most: a test fails, and never hangs."""
    for _ in range(6000):
        if true():
            return
        sleep(0.05)


def test_a_node_that_is_killed_loses_nothing(
    dataset: Dataset, tiny: ClipAsRnn, load: Load, cluster: Any, on_ray: Callable[..., OnRay], tmp_path: Path
) -> None:
    """More workers are asked for than there is room for; one of the three that run is lost with its node."""
    doomed, opened, said = add_node(cluster), dataset.find, []
    lost, reached, done = doomed.node_id, tmp_path / "reached", tmp_path / "done"
    done.mkdir()

    def find(identity: str) -> Sample:
        node = ray.get_runtime_context().get_node_id()
        if node == lost:
            reached.write_text(identity)
            sleep(3600)
        until(reached.exists)  # else three workers may do all before the fourth is there
        (done / identity).write_text(node)
        return opened(identity)

    def kill() -> None:
        until(reached.exists)
        cluster.remove_node(doomed, allow_graceful=False)

    run(dataset, tiny, tmp_path / "here")
    killer = Thread(target=kill, daemon=True)
    killer.start()
    there = run(
        replace(dataset, find=find),
        load,
        tmp_path / "there",
        engine=partial(on_ray, workers=9, say=said.append),
    )
    killer.join(60)
    assert said[0] == "9 workers of 1 CPU asked for, the cluster has 4 CPUs and 0 GPUs: 4 are taken"
    assert (done / reached.read_text()).read_text() != lost
    assert_alike(numbers(tmp_path / "there"), numbers(tmp_path / "here"))
    assert len(there.records) == PICTURES


def test_images_that_kill_their_worker(
    dataset: Dataset, root: Path, tiny: ClipAsRnn, on_ray: Callable[..., OnRay], tmp_path: Path
) -> None:
    """Image 2 kills its worker once, image 4 always, as one that fills the memory would; 3 is no image."""
    killed, opened = tmp_path / "killed", dataset.find
    killed.mkdir()
    (root / "images/3.png").write_bytes(b"no image")

    def find(identity: str) -> Sample:
        deaths = len(list(killed.glob(f"{identity}-*")))
        if deaths < {"2": 1, "4": 99}.get(identity, 0):
            (killed / f"{identity}-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return opened(identity)

    summary = run(replace(dataset, find=find), tiny, tmp_path / "there", engine=on_ray)  # the weights travel
    assert len(list(killed.glob("2-*"))) == 1
    assert len(list(killed.glob("4-*"))) == DEATHS
    assert sorted(summary.failed) == ["3", "4"]
    assert summary.failed["4"].startswith("expected a worker to live through an image")
    run(dataset, tiny, tmp_path / "here")
    here, there = numbers(tmp_path / "here"), numbers(tmp_path / "there")
    for name in ("3", "4"):
        del here[name], there[name]
    assert_alike(there, here)


def test_a_cluster_without_a_free_cpu_is_waited_for(
    dataset: Dataset,
    load: Load,
    on_ray: Callable[..., OnRay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("carlab.evaluate.machines.PATIENCE", 1.0)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        others.clear()  # their CPUs are free again

    class Other:
        def ready(self) -> None: ...

    others = [ray.remote(num_cpus=1)(Other).remote() for _ in range(3)]
    ray.get([other.ready.remote() for other in others])
    assert len(run(dataset, load, tmp_path, limit=1, engine=partial(on_ray, say=say)).records) == 1
    assert said[0].startswith("no worker yet: 0 CPUs and 0 GPUs free in the Ray cluster")


def test_workers_share_a_gpu_and_the_threads(
    dataset: Dataset, tiny: ClipAsRnn, load: Load, cluster: Any, on_ray: Callable[..., OnRay], tmp_path: Path
) -> None:
    """A node that says it has a GPU: what Ray gives a worker is seen, though nothing computes on it."""
    add_node(cluster, num_cpus=4, num_gpus=1)
    seen, said = tmp_path / "seen", []
    seen.mkdir()

    def loading() -> ClipAsRnn:
        import torch
        from threadpoolctl import threadpool_info

        pools = {pool["num_threads"] for pool in threadpool_info()}
        found = os.environ["CUDA_VISIBLE_DEVICES"], torch.get_num_threads(), max(pools)
        (seen / str(os.getpid())).write_text(json.dumps(found))
        return load()

    def find(identity: str) -> Sample:
        until(lambda: len(list(seen.iterdir())) == 2)  # else one worker may do all before the other is there
        return opened(identity)

    engine, opened = partial(on_ray, workers=3, gpus=0.5, say=said.append), dataset.find
    there = run(replace(dataset, find=find), loading, tmp_path / "there", engine=engine)
    assert said[0] == "3 workers of 0.5 GPU asked for, the cluster has 7 CPUs and 1 GPUs: 2 are taken"
    found = [json.loads(file.read_text()) for file in seen.iterdir()]
    assert found == [["0", 2, 2]] * 2
    here = run(dataset, tiny, tmp_path / "here")
    assert_alike(numbers(tmp_path / "there"), numbers(tmp_path / "here"))
    np.testing.assert_array_equal(there.rows, here.rows)
