"""Where results are kept: one small JSON file for each (experiment, seed), under a key of code and data."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
FRAMEWORK = {"__init__", "__main__", "coverage", "results", "summary"}


@dataclass(frozen=True)
class Experiment:
    """One experiment's module and what it states."""

    slug: str
    module: ModuleType

    @property
    def seeds(self) -> tuple[int, ...]:
        return getattr(self.module, "SEEDS", (0, 1, 2))

    @property
    def expected(self) -> dict[str, str]:
        return self.module.EXPECTED

    @property
    def claims(self) -> dict[str, Any]:
        return self.module.CLAIMS

    def data(self) -> list[Path]:
        folder = os.environ.get("ASSENT_DATA", "")
        return [Path(folder) / name for name in getattr(self.module, "DATA", ())]

    def missing_data(self) -> list[str]:
        return [path.name for path in self.data() if not os.environ.get("ASSENT_DATA") or not path.exists()]

    @property
    def key(self) -> str:
        """Hash of the experiment's file, of the modules it imports from here, and of its data."""
        digest = hashlib.sha256()
        for path in sorted(self._sources()):
            digest.update(path.read_bytes())
        for path in self.data():
            digest.update(path.read_bytes() if path.exists() else b"")
        return digest.hexdigest()[:16]

    def _sources(self) -> set[Path]:
        own = Path(str(self.module.__file__))
        found = {own}
        for node in ast.walk(ast.parse(own.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                if name.split(".")[0] in ("assent", "experiments"):
                    found |= _source_of(name)
        return found


def _source_of(name: str) -> set[Path]:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return set()
    return {Path(spec.origin)} if spec and spec.origin and not spec.origin.endswith("__init__.py") else set()


def experiments(slugs: list[str]) -> list[Experiment]:
    """The experiments of the given slugs, or all; an unknown slug exits with the known ones."""
    known = sorted(
        path.stem
        for path in Path(__file__).parent.glob("*.py")
        if path.stem not in FRAMEWORK and not path.stem.startswith("_")
    )
    wanted = [slug.replace("-", "_") for slug in slugs]
    for slug in wanted:
        if slug not in known:
            raise SystemExit(f"no experiment is called {slug!r}; there are: {', '.join(known)}")
    return [Experiment(slug, importlib.import_module(f"experiments.{slug}")) for slug in wanted or known]


def stored(experiment: Experiment, seed: int) -> dict[str, Any] | None:
    """The result of a seed, or None."""
    path = RESULTS / experiment.slug / f"{seed}.json"
    return json.loads(path.read_text()) if path.exists() else None


def store(experiment: Experiment, seed: int, numbers: dict[str, float], seconds: float) -> None:
    """Writes a seed's numbers, with what they were made with."""
    path = RESULTS / experiment.slug / f"{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "key": experiment.key,
        "numbers": {name: float(value) for name, value in numbers.items()},
        "seconds": round(seconds, 1),
        "date": date.today().isoformat(),
        "torch": importlib.metadata.version("torch"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(path)
