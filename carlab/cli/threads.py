"""Threads of the commands that run a model: as many as asked for, and none spins while it waits."""

import os

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""Sizes of the pools of torch, of BLAS and of the tokenizers."""


def use_threads(number: int | None) -> None:
    """Set the threads of every library that is loaded from now on, and of the processes started from here.

    Called while options are parsed, before torch is imported: OpenMP reads the environment once. What the
    user has set there stays, but for a number asked for. A thread that spins takes the core from those it
    waits for, as soon as something else runs on the machine; docs/performance.md has the seconds.

    Parameters
    ----------
    number
        1 or more; None: as many as there are cores for this process, by its affinity and its cgroup.
    """
    from loky import cpu_count
    from threadpoolctl import threadpool_limits

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if number is None:
        os.environ.setdefault("OMP_NUM_THREADS", str(cpu_count()))
    else:
        os.environ.update(dict.fromkeys(POOLS, str(number)))
        threadpool_limits(number)  # of NumPy, which is loaded
