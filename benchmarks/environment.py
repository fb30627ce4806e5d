"""The environment that TRL runs in: its own, so that it never meets the project's packages, and torch is shared."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def trl_python(folder: Path) -> Path:
    """The interpreter of an environment with the newest TRL; made at the first call.

    TRL itself is installed there from the package index; what it stands on (torch, transformers, accelerate,
    datasets) is read from this environment, so that both sides run the very same libraries.
    """
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=False, clear=True)
        inside = next((folder / "lib").glob("python3*")) / "site-packages"
        (inside / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(inside), "trl"]
        subprocess.run(install, check=True)
        subprocess.run([str(python), "-c", "import trl"], check=True)
        (folder / "ready").write_text("")
    return python


def trl_version(python: Path) -> str:
    """The version installed there."""
    asked = "from importlib.metadata import version; print(version('trl'))"
    return subprocess.run([str(python), "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
