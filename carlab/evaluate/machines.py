"""Run and score images on the workers of a Ray cluster, each of which loads the model for itself."""

import os
import socket
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, floor
from typing import Any

from carlab.errors import CarlabError, ComputeError, RunError, SettingError, reason
from carlab.evaluate.engine import failed, run_here
from carlab.evaluate.manifest import manifest
from carlab.evaluate.work import Loaded, Models, Outcome, Task, Work
from carlab.trace.provenance import leaves

DEATHS = 3
"""How many workers may die of one image, or before they are ready, until that is an error."""
GROUPS = 2
"""Groups of images that a worker is asked for at once: the CRFs of the first run beside the second."""
ANSWER = 10.0
"""Seconds in which the head of a cluster must answer."""
PATIENCE = 20.0
"""Seconds without any worker after which the wait is reported."""


class OnRay:
    """Workers on a Ray cluster; a worker that dies is replaced, and its images are run by others.

    Raises SettingError if Ray is not installed, the cluster cannot be reached, or has no room for a worker;
    RunError if the workers' models differ, or none can be started.

    Parameters
    ----------
    work
        What to run. Data and weights need the same path or hub name on every machine.
    workers
        1 or more; fewer are taken where the cluster has no room for all.
    together
        Images in lock-step in each worker. DenseCRF runs in a process of its own beside each model.
    gpus
        Share of a GPU for each worker, in (0, 1]; 0: a CPU. The worker sees it as "cuda".
    address
        Of a running cluster, "auto", "HOST:6379" or "ray://HOST:10001". None: the one that `RAY_ADDRESS`
        names, or one that is started on this machine.
    say
        Called with one line where the user should know something.
    """

    def __init__(
        self,
        work: Work,
        *,
        workers: int = 1,
        together: int = 4,
        gpus: float = 0.0,
        address: str | None = None,
        say: Callable[[str], None] = warnings.warn,
    ) -> None:
        check_options(work, workers, gpus)
        self.ray, self.work, self.say = join(address), work, say
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        most, unit = room(machines, gpus), f"{gpus:g} GPU" if gpus else "1 CPU"
        if not most:
            raise SettingError(
                f"expected a Ray cluster with room for a worker of {unit}, got {total(machines)}; "
                "add machines, or ask for another device"
            )
        if workers > most:
            say(f"{workers} workers of {unit} asked for, the cluster has {total(machines)}: {most} are taken")
        self.workers = min(workers, most)
        options = {"num_gpus": gpus, "num_cpus": 0} if gpus else {"num_cpus": 1}
        actor: Any = self.ray.remote(scheduling_strategy="SPREAD", **options)(Worker)
        threads = threads_each(machines, self.workers, gpus)
        shared = self.ray.put(work)
        self._start = lambda: actor.remote(shared, threads, together)
        self._size = GROUPS * together
        self._asked: dict[Any, tuple[Any, Sequence[Task]]] = {}
        """By the answer that is to come: a worker, and its tasks, none while it loads the model."""
        self._idle: list[Any] = []
        self._deaths: Counter[Task | None] = Counter()
        """By the task that a worker died of; None: before it was ready."""
        self.manifests: Sequence[dict[str, Any]] = ()
        self._hire()
        while not self._idle:
            for _ in self._answered(deque()):
                pass

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run and score images; yield outcomes in the order in which they are made."""
        queue = deque(shared_out(tasks, self.workers, self._size))
        for _ in range(min(self.workers, len(queue)) - len(self._idle)):
            self._hire()
        try:
            while queue or self._computing:
                while self._idle and queue:
                    worker, chunk = self._idle.pop(), queue.popleft()
                    self._asked[worker.run.remote(chunk)] = worker, chunk
                yield from self._answered(queue)
        finally:  # at once: the next run may need the room
            for worker in (*self._idle, *(worker for worker, _ in self._asked.values())):
                self.ray.kill(worker)

    @property
    def _computing(self) -> bool:
        return any(chunk for _, chunk in self._asked.values())

    def _hire(self) -> None:
        """Start a worker; it is given tasks once its model is loaded."""
        worker = self._start()
        self._asked[worker.manifests.remote()] = worker, ()

    def _answered(self, queue: "deque[Sequence[Task]]") -> Iterator[Outcome]:
        """Wait for a worker; yield the outcomes of its tasks, which are queued again where it has died."""
        answer = self._wait()
        worker, chunk = self._asked.pop(answer)
        try:
            made = self.ray.get(answer)
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as error:  # of a process or a machine
            yield from self._replaced(chunk, error, queue)
            return
        if isinstance(made, CarlabError):
            raise made
        self._idle.append(worker)
        if chunk:
            yield from made
        else:
            self._check(made)

    def _wait(self) -> Any:
        """Return the next answer, and report if there is nothing but a wait for room in the cluster."""
        told = False
        while not (ready := self.ray.wait(list(self._asked), num_returns=1, timeout=PATIENCE)[0]):
            if not (told or self._computing):
                free = total([self.ray.available_resources()])
                self.say(
                    f"no worker yet: {free} free in the Ray cluster; it waits, or stop it and start again"
                )
                told = True
        return ready[0]

    def _check(self, manifests: Sequence[dict[str, Any]]) -> None:
        """Raise RunError unless a worker's models are those of the first one."""
        self._deaths[None] = 0
        self.manifests = self.manifests or manifests
        first, other = dict(leaves(list(self.manifests))), dict(leaves(list(manifests)))
        differ = [name for name in first | other if first.get(name) != other.get(name)]
        if differ:
            raise RunError(
                f"expected the same model in every worker, got {differ[0]} "
                f"{first.get(differ[0])!r} and {other.get(differ[0])!r}; "
                "install the same versions and weights on every machine"
            )

    def _replaced(
        self, chunk: Sequence[Task], error: Exception, queue: "deque[Sequence[Task]]"
    ) -> Iterator[Outcome]:
        """Start another worker, and queue the tasks of a dead one, each alone; yield those that failed."""
        self._deaths.update(chunk or (None,))
        why = reason(RuntimeError(str(error).strip().splitlines()[-1]))
        if self._deaths[None] >= DEATHS:
            raise RunError(
                f"expected workers that start, got {DEATHS} that died ({why}); see the logs of Ray"
            )
        self._hire()
        for task in chunk:
            if self._deaths[task] < DEATHS:
                queue.append([task])
                continue
            index, numbers = task
            cause = ComputeError(
                f"expected a worker to live through an image, got {DEATHS} that died ({why}); "
                "take fewer images together, or machines with more memory"
            )
            yield from (failed(self.work.dataset, index, number, cause) for number in numbers)


class Worker:
    """Loads the models where it is started, and runs some images at a time."""

    def __init__(self, work: Work, threads: int, together: int) -> None:
        self.work, self.threads, self.together = work, threads, together
        self.variants: list[Models] = []

    def manifests(self) -> list[dict[str, Any]] | CarlabError:
        """Load the models; return the manifest of each variant, or why that is not possible here."""
        import torch
        from threadpoolctl import threadpool_limits

        # Ray sets OMP_NUM_THREADS only where it is not set: each worker of a machine would use every core.
        torch.set_num_threads(self.threads)
        threadpool_limits(self.threads)
        try:
            self.variants = self.work.variants()
        except CarlabError as error:
            return error
        return [manifest(self.work.dataset, models) for models in self.variants]

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Return the outcomes of some images; DenseCRF runs in a process beside the model."""
        return list(run_here(self.work.dataset, self.variants, tasks, together=self.together, workers=1))


def check_options(work: Work, workers: int, gpus: float) -> None:
    """Raise SettingError for numbers out of range, or a model that cannot travel."""
    if workers < 1:
        raise SettingError(f"expected 1 or more workers, got {workers}; one for each GPU is usual")
    if not 0 <= gpus <= 1:
        raise SettingError(f"expected a share of a GPU from 0 to 1 for each worker, got {gpus:g}; 1 is usual")
    if isinstance(work.load, Loaded):
        device = getattr(getattr(work.load.model.classifier, "backbone", None), "device", None)
        if getattr(device, "type", "cpu") != "cpu":
            raise SettingError(
                f"expected a function that loads the model in each worker, got one on {device}; "
                'give partial(carlab.load, PRESET, device="cuda")'
            )


def join(address: str | None) -> Any:
    """Return Ray, connected to a cluster; one is started on this machine if none is named.

    Raises SettingError if Ray is not installed, or the cluster cannot be reached; RunError if none starts.
    """
    try:
        import ray
    except ImportError as error:
        raise SettingError(
            "expected Ray for --engine ray, got none installed; pip install 'clip-as-rnn-lab[ray]'"
        ) from error
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None and "RAY_ADDRESS" not in os.environ:
        import torch

        try:  # as many cores as this process may use (`--threads`)
            ray.init(address="local", num_cpus=torch.get_num_threads(), include_dashboard=False, **quiet)
        except Exception as error:  # of no type of its own: a busy machine misses Ray's own time limits
            raise RunError(
                f"expected Ray to start on this machine, got none ({reason(error)}); run it again"
            ) from error
        return ray
    place = address or os.environ["RAY_ADDRESS"]
    try:
        check_port(place)
        ray.init(address=place, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"expected a running Ray cluster at {place!r}, got none ({reason(error)}); "
            "start one with ray start --head, or give the address of its head"
        ) from error
    return ray


def check_port(address: str) -> None:
    """Raise OSError if nobody answers at HOST:PORT: Ray would try for minutes before it says so."""
    host, _, port = address.partition("://")[2 if "://" in address else 0].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()


def room(machines: Sequence[Mapping[str, float]], gpus: float) -> int:
    """Return how many workers a cluster has room for: by its GPUs, or by its CPUs where they need none.

    Parameters
    ----------
    machines
        Resources of each, such as {"CPU": 8.0, "GPU": 1.0}.
    gpus
        Share of a GPU of each worker; 0: a CPU.

    Examples
    --------
    >>> room([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}], gpus=0.5)
    4
    >>> room([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}], gpus=0.0)
    12
    """
    if gpus:  # Ray never splits a worker over two GPUs
        return sum(int(machine.get("GPU", 0)) * floor(1 / gpus + 1e-6) for machine in machines)
    return sum(int(machine.get("CPU", 0)) for machine in machines)


def threads_each(machines: Sequence[Mapping[str, float]], workers: int, gpus: float) -> int:
    """Return the threads of each worker: its share of the smallest machine, since Ray spreads them evenly.

    Parameters
    ----------
    machines, workers, gpus
        See `room`; only machines that have what a worker needs count.

    Examples
    --------
    >>> threads_each([{"CPU": 8.0}, {"CPU": 16.0}], workers=4, gpus=0.0)
    4
    >>> threads_each([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 2.0}], workers=4, gpus=1.0)
    2
    """
    cores = [int(machine.get("CPU", 1)) for machine in machines if room([machine], gpus)]
    return max(1, min(cores) // ceil(workers / len(cores)))


def total(machines: Sequence[Mapping[str, float]]) -> str:
    """Return the CPUs and GPUs of machines as text.

    >>> total([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0}])
    '12 CPUs and 1 GPUs'
    """
    cpus, gpus = (sum(machine.get(kind, 0) for machine in machines) for kind in ("CPU", "GPU"))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"


def shared_out(tasks: Sequence[Task], workers: int, most: int) -> Iterator[Sequence[Task]]:
    """Yield tasks in chunks of at most `most`, smaller ones at the end, so that all workers end together.

    >>> [len(chunk) for chunk in shared_out([(k, (0,)) for k in range(20)], workers=2, most=8)]
    [5, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    """
    start = 0
    while start < len(tasks):
        size = max(1, min(most, (len(tasks) - start) // (2 * workers)))
        yield tasks[start : start + size]
        start += size
