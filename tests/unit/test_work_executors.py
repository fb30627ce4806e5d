"""Shards are pure tasks: run once or twice, by anybody, killed or not, the files are the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assent.errors import InputError, RunError
from assent.work.executors import InProcess, Pool, RankOf, RayTasks, executor_of
from assent.work.manifest import Manifest

TASK = "tests.unit.test_work_executors:square"


def square(inputs: Mapping[str, Any], path: Path) -> None:
    if inputs.get("dies"):
        flag = Path(inputs["dies"])
        if not flag.exists():
            flag.touch()
            os._exit(9)
    if inputs.get("fails"):
        raise InputError("this shard cannot be done")
    path.write_text(str(inputs["value"] ** 2))


def manifest(folder: Path, count: int = 5, **first: Any) -> Manifest:
    inputs: list[dict[str, Any]] = [{"value": value} for value in range(count)]
    inputs[0] |= first
    return Manifest.create(folder, TASK, inputs)


def results(work: Manifest) -> list[int]:
    return [int(work.check(shard).read_text()) for shard in work.shards]


def test_in_process_runs_what_is_missing(tmp_path: Path) -> None:
    work = manifest(tmp_path)
    assert len(list(InProcess().run(work))) == 5
    assert results(work) == [0, 1, 4, 9, 16]
    assert not list(InProcess().run(work)), "nothing is left"
    work.path(work.shards[2]).write_text("5")  # damaged, same size
    with pytest.raises(RunError, match="damaged"):
        work.check(work.shards[2])
    assert [shard.number for shard in InProcess().run(work)] == [2]
    work.path(work.shards[3]).write_text("truncated or longer")
    assert [shard.number for shard in InProcess().run(manifest(tmp_path))] == [3]
    assert not list(tmp_path.glob("*.tmp"))


def test_ranks_share_the_work(tmp_path: Path) -> None:
    work = manifest(tmp_path)
    parts = [[shard.number for shard in RankOf(rank, 2).run(work)] for rank in (0, 1)]
    assert parts == [[0, 2, 4], [1, 3]]
    assert results(work) == [0, 1, 4, 9, 16]


def test_other_work_in_the_folder_is_refused(tmp_path: Path) -> None:
    manifest(tmp_path)
    with pytest.raises(InputError, match="other work"):
        manifest(tmp_path, count=4)


def test_a_pool_survives_a_dead_worker_and_reports_a_failed_task(tmp_path: Path) -> None:
    work = manifest(tmp_path / "a", dies=str(tmp_path / "flag"))
    assert len(list(Pool(2).run(work))) >= 1
    assert results(work) == [0, 1, 4, 9, 16]
    with pytest.raises(InputError, match="cannot be done"):
        list(Pool(2).run(manifest(tmp_path / "b", fails=True)))


def test_ray_runs_shards_again_when_a_worker_dies(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=2,
        log_to_driver=False,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}},
    )
    try:
        work = manifest(tmp_path / "a", dies=str(tmp_path / "flag"))
        assert sorted(shard.number for shard in RayTasks().run(work)) == [0, 1, 2, 3, 4]
        assert results(work) == [0, 1, 4, 9, 16]
        with pytest.raises(RunError, match="cannot be done"):
            list(RayTasks().run(manifest(tmp_path / "b", fails=True)))
    finally:
        ray.shutdown()


def test_the_command_lines_choice() -> None:
    assert executor_of("process") == InProcess()
    assert executor_of("pool", 3) == Pool(3)
    assert executor_of("ray", gpus=0.5) == RayTasks(gpus=0.5)
    assert executor_of("ray", rank="1/4") == RankOf(1, 4)
    for bad in ("4/4", "x/2", "1"):
        with pytest.raises(InputError, match="rank"):
            executor_of("process", rank=bad)
