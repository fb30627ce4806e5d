"""Who runs the shards of a manifest: this process, a pool of processes, Ray tasks, or one rank of many.

All do the same: run what is not done, twice if need be, and report each shard as it is finished.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from assent.errors import InputError, RunError
from assent.work.manifest import Manifest, Shard, run_shard


class Executor(Protocol):
    """Runs what a manifest lacks."""

    def run(self, manifest: Manifest) -> Iterator[Shard]:
        """The shards as they are finished; those that were done already are not run and not reported."""


@dataclass(frozen=True)
class InProcess:
    """One shard after the other, here."""

    def run(self, manifest: Manifest) -> Iterator[Shard]:
        """The shards in order."""
        for shard in manifest.missing():
            run_shard(manifest.task, shard.inputs, manifest.path(shard))
            yield shard


@dataclass(frozen=True)
class RankOf:
    """Every N-th shard, from the r-th on: for cluster arrays, where N processes know only their rank.

    Args:
        rank: r, from 0.
        count: N.
    """

    rank: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise InputError(
                "no such rank", field="rank", found=f"{self.rank}/{self.count}", expected="r/N with 0 <= r < N"
            )

    def run(self, manifest: Manifest) -> Iterator[Shard]:
        """This rank's shards in order."""
        for shard in manifest.missing():
            if shard.number % self.count == self.rank:
                run_shard(manifest.task, shard.inputs, manifest.path(shard))
                yield shard


@dataclass(frozen=True)
class Pool:
    """Processes on this machine, started afresh (no forked threads, no shared accelerator state).

    Args:
        workers: how many.
        attempts: how often a pool whose process died is started again.
    """

    workers: int
    attempts: int = 3

    def run(self, manifest: Manifest) -> Iterator[Shard]:
        """The shards as they are finished."""
        for attempt in range(self.attempts):
            try:
                yield from self._once(manifest)
                return
            except BrokenProcessPool:
                if attempt == self.attempts - 1:
                    raise RunError(
                        f"a worker died {self.attempts} times (out of memory?); {len(manifest.missing())} shards are "
                        "left, and the same command goes on with them"
                    ) from None

    def _once(self, manifest: Manifest) -> Iterator[Shard]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=context) as pool:
            futures = {
                pool.submit(run_shard, manifest.task, dict(shard.inputs), manifest.path(shard)): shard
                for shard in manifest.missing()
            }
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@dataclass(frozen=True)
class RayTasks:
    """Ray Core tasks, one for each shard: retried when a worker or a node is lost, spread by resources.

    Joins the cluster of RAY_ADDRESS where there is one, else starts Ray on this machine. The folder of the manifest
    must be seen by all nodes.

    Args:
        cpus: CPUs of a task.
        gpus: GPUs of a task; may be a share of one.
        retries: how often a lost task is run again.
    """

    cpus: float = 1
    gpus: float = 0
    retries: int = 3

    def run(self, manifest: Manifest) -> Iterator[Shard]:
        """The shards as they are finished."""
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            ray.init(log_to_driver=False, include_dashboard=False)
        try:
            yield from self._tasks(ray, manifest)
        finally:
            if started:
                ray.shutdown()

    def _tasks(self, ray: Any, manifest: Manifest) -> Iterator[Shard]:
        # A task's own errors are not retried: they would come again.
        remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=self.retries)(run_shard)
        waiting = {
            remote.remote(manifest.task, dict(shard.inputs), manifest.path(shard).absolute()): shard
            for shard in manifest.missing()
        }
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                shard = waiting.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    cause = error.cause if isinstance(error.cause, Exception) else error
                    raise RunError(f"shard {shard.number} failed: {cause}") from None
                except ray.exceptions.RayError as error:
                    raise RunError(f"shard {shard.number} was lost: {error}") from None
                yield shard


def executor_of(engine: str, workers: int | None = None, rank: str | None = None, gpus: float = 0) -> Executor:
    """The executor of the command line's `--engine`, `--workers`, `--rank` and `--gpus`."""
    if rank is not None:
        first, _, second = rank.partition("/")
        if not first.isdigit() or not second.isdigit():
            raise InputError("not a rank", field="rank", found=rank, expected="r/N, such as 0/4")
        return RankOf(int(first), int(second))
    if engine == "ray":
        return RayTasks(gpus=gpus)
    if engine == "pool":
        return Pool(workers or multiprocessing.cpu_count())
    return InProcess()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed", field="engine", remedy="pip install 'assent[ray]'") from None
    return ray
