"""Run and score images on many machines and GPUs, by Ray: a model in each worker."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.errors import SettingError
from carlab.evaluate.engine import Models, Outcome, Task, run_here

RETRIES = 3
"""How often an image is run again when its worker dies."""


def run_on_ray(
    dataset: Dataset, variants: Sequence[Models], tasks: Iterable[Task], *, workers: int = 1
) -> Iterator[Outcome]:
    """Run tasks on the workers of a Ray cluster; yield outcomes in the order in which they are made.

    Joins the cluster that `RAY_ADDRESS` names, or starts one on this machine. The data set needs the same
    path on every machine. Each worker uses a GPU, if there are any. A worker that dies is started again, and
    its image is run again. Raises SettingError if Ray is not installed, or `workers` is less than 1.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise SettingError(
            "expected Ray for --engine ray, got none installed; pip install 'clip-as-rnn-lab[ray]'"
        ) from error
    if workers < 1:
        raise SettingError(f"expected 1 or more workers, got {workers}; one for each GPU is usual")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    place = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
    options: dict[str, Any] = {**place, "max_restarts": -1, "max_task_retries": RETRIES}
    actor: Any = ray.remote(**options)(_Worker)
    shared = ray.put((dataset, variants))  # the weights travel once to each machine
    pool: Any = ActorPool([actor.remote(shared) for _ in range(workers)])
    for outcomes in pool.map_unordered(lambda worker, task: worker.run.remote(task), tasks):
        yield from outcomes


class _Worker:
    """Holds the data set and the models, and runs one image at a time."""

    def __init__(self, shared: tuple[Dataset, Sequence[Models]]) -> None:
        self.dataset, self.variants = shared

    def run(self, task: Task) -> list[Outcome]:
        """Return the outcomes of one image."""
        return list(run_here(self.dataset, self.variants, [task], together=1, workers=0))
