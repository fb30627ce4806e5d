"""A verb that reads lines and writes lines, run in shards: a pool of processes, Ray tasks, or one rank of many."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from assent.cli import paid_work
from assent.errors import InputError
from assent.work.executors import executor_of
from assent.work.manifest import Manifest, load_task

TASK = "assent.cli.sharded_work:run_part"
OWN = ("engine", "workers", "rank", "gpus", "shard_size")
"""Options of the sharding itself, which a part does not have."""


class Engine(Enum):
    """Where the shards run."""

    process = "process"
    pool = "pool"
    ray = "ray"


def run_sharded(verb: str, source: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Cuts the source's lines into shards, runs the verb on each, and joins the results in order.

    Args:
        verb: dotted path of the verb's function, whose first two parameters are source and out.
        source: JSONL or text lines.
        out: the joined result.
        settings: the verb's other parameters, those of OWN included.
    """
    if source.suffix not in (".jsonl", ".txt"):
        raise InputError("only lines can be cut into shards", where=str(source), expected=".jsonl or .txt")
    if any(settings.get(name) is not None for name in ("budget", "token_budget")):
        raise InputError(
            "a budget is kept by one process", field="budget", remedy="Leave out --engine and --rank, or the budget"
        )
    folder = out.with_name(f"{out.name}.shards").absolute()
    kept = {name: _encoded(value) for name, value in settings.items() if name not in OWN}
    lines = source.read_bytes().splitlines(keepends=True)
    size = settings["shard_size"]
    inputs = [
        {
            "verb": verb,
            "source": str(source.absolute()),
            "lines": [start, min(start + size, len(lines))],
            "content": hashlib.sha256(b"".join(lines[start : start + size])).hexdigest(),
            "settings": kept,
            "folder": str(folder),
        }
        for start in range(0, len(lines), size)
    ]
    manifest = Manifest.create(folder, TASK, inputs)
    executor = executor_of(settings["engine"].value, settings["workers"], settings["rank"], settings["gpus"])
    with paid_work.progress("shards", len(manifest.missing())) as step:
        for _ in executor.run(manifest):
            step()
    missing = len(manifest.missing())
    if missing:
        paid_work.say(f"{missing} of {len(inputs)} shards are left to other ranks; the last one joins the results")
        return
    _join(manifest, out)
    typer.echo(f"{len(inputs)} shards joined in {out}")


def run_part(inputs: Mapping[str, Any], path: Path) -> None:
    """One shard: the verb on its lines, its messages in a log beside the result."""
    start, stop = inputs["lines"]
    source, folder = Path(inputs["source"]), Path(inputs["folder"])
    part = path.with_name(f"{path.name}{source.suffix}")
    lines = source.read_bytes().splitlines(keepends=True)[start:stop]
    if hashlib.sha256(b"".join(lines)).hexdigest() != inputs["content"]:
        raise InputError("the input has changed since the work was cut", where=str(source))
    settings = {name: _decoded(value) for name, value in inputs["settings"].items()}
    settings["journal"] = folder / f"part-{start}.journal"
    failed = path.with_name(f"{path.name}.failed")
    try:
        part.write_bytes(b"".join(lines))
        with (
            (folder / f"part-{start}.log").open("a", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            load_task(inputs["verb"])(part, path, **settings)  # type: ignore[arg-type]
        if failed.exists():
            failed.replace(folder / f"part-{start}.failed")
    finally:
        for rest in (part, failed, path.with_name(f"{path.name}.partial")):
            rest.unlink(missing_ok=True)


def _join(manifest: Manifest, out: Path) -> None:
    temporary = out.with_name(f"{out.name}.tmp")
    with temporary.open("wb") as file:
        for shard in manifest.shards:
            file.write(manifest.check(shard).read_bytes())
    temporary.replace(out)
    failed = [manifest.folder / f"part-{shard.inputs['lines'][0]}.failed" for shard in manifest.shards]
    rows = b"".join(one.read_bytes() for one in failed if one.exists())
    if rows:
        out.with_name(f"{out.name}.failed").write_bytes(rows)


def _encoded(value: Any) -> Any:
    if isinstance(value, Path):
        return {"path": str(value.absolute())}
    if isinstance(value, Enum):
        return {"enum": f"{type(value).__module__}:{type(value).__name__}", "value": value.value}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"path"}:
        return Path(value["path"])
    if isinstance(value, Mapping) and set(value) == {"enum", "value"}:
        module, _, name = value["enum"].partition(":")
        return getattr(importlib.import_module(module), name)(value["value"])
    return value
