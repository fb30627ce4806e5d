"""A trained model without its adapters, held against the log-probabilities that training left."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from assent.errors import InputError, RunError
from assent.likelihood.build_policy import build_policy
from assent.likelihood.loading import load_causal_lm
from assent.training import run_folder
from assent.training.probes import read_probes, score
from assent.training.weights import save_weights

BOUNDS = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Largest difference of a token's log-probability, nats; `ROUNDED` for 16-bit weights, which rounding moves."""
ROUNDED = 0.5


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Args:
        folder: the plain model.
        merged: names of the adapters that were merged, lowest first.
        records: how many were scored again.
        largest: difference of a token's log-probability, in nats; `mean` over all tokens.
        bound: what was allowed.
    """

    folder: Path
    merged: tuple[str, ...]
    records: int
    largest: float
    mean: float
    bound: float


def export(run: Path, out: Path, bound: float | None = None, dtype: str | None = None) -> Exported:
    """Writes the run's model as a plain one and scores stored records with what was written.

    Args:
        run: a run folder.
        out: a folder that does not exist, or is empty.
        bound: largest difference of a token's log-probability that is accepted; default by the weights' type.
        dtype: type of the written weights; default: that of the run.

    Raises:
        RunError: log-probabilities moved beyond the bound; nothing is left in `out`.
    """
    model_folder = run / run_folder.MODEL
    if not model_folder.is_dir():
        raise InputError(
            "not the folder of a finished run", where=str(run), expected=f"a folder with {run_folder.MODEL}/"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("the target is not empty", where=str(out), remedy="Choose another folder")
    config = _config(run)
    model, tokenizer, merged = _merged(run, model_folder, config, dtype)
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        save_weights(model, unfinished)
        tokenizer.save_pretrained(str(unfinished))
        found = _checked(run, unfinished, out, merged, bound)
        if (model_folder / "README.md").is_file() and not merged:
            shutil.copy(model_folder / "README.md", unfinished / "README.md")
        if out.is_dir():
            out.rmdir()
        unfinished.rename(out)
        return found
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _merged(run: Path, folder: Path, config: dict[str, Any], dtype: str | None) -> tuple[Any, Any, tuple[str, ...]]:
    """(plain model, tokenizer, adapters that went into it)."""
    trained = (folder / "adapter_config.json").is_file()
    written = dtype or (config.get("model") or {}).get("dtype")
    written = None if written in (None, "auto") else written
    trust = bool((config.get("model") or {}).get("trust_remote_code"))
    if not trained:
        model, tokenizer = load_causal_lm(folder, dtype=written, trust_remote_code=trust)
        return model, tokenizer, ()
    below = (config.get("model") or {}).get("adapter")
    start = str((config.get("model") or {}).get("path") or "")
    if not start:
        raise InputError("the run folder does not say which model it started from", where=str(run))
    # The adapter is merged into full weights, never into quantised ones, which would round it away.
    model, _ = load_causal_lm(start, dtype=written, adapter=below, trust_remote_code=trust)
    merged: list[str] = []
    if hasattr(model, "peft_config"):
        merged += list(model.peft_config)
        model = model.merge_and_unload()
    from peft import PeftModel
    from transformers import AutoTokenizer

    model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    return model, AutoTokenizer.from_pretrained(str(folder)), (*merged, "default")


def _checked(run: Path, written: Path, out: Path, merged: tuple[str, ...], bound: float | None) -> Exported:
    """Scores the stored records with the model that was written, as anybody would load it."""
    probes = run / run_folder.PROBES
    if not probes.is_file():
        raise InputError(
            "the run folder holds no log-probabilities to compare with",
            where=str(probes),
            remedy="Finish the run with `assent train --resume`",
        )
    comparisons, expected = read_probes(probes)
    model, _ = load_causal_lm(written)
    limit = bound if bound is not None else BOUNDS.get(model.dtype, ROUNDED)
    found = score(build_policy(model), comparisons, "cpu")
    differences = torch.tensor(
        [
            abs(new - old)
            for one, other in zip(found, expected, strict=True)
            for mine, theirs in zip(one, other, strict=True)
            for new, old in zip(mine, theirs, strict=True)
        ]
    )
    largest = float(differences.max()) if len(differences) else 0.0
    mean = float(differences.mean()) if len(differences) else 0.0
    if not largest <= limit:
        raise RunError(
            f"the exported model is not the trained one: a token's log-probability moved by {largest:.4g} nats, "
            f"{mean:.4g} on average (bound {limit:g}), over {len(comparisons)} records. Nothing was "
            f"written to {out}. A quantised base, another dtype or other weights under the same name do that"
        )
    return Exported(out, merged, len(comparisons), largest, mean, limit)


def _config(run: Path) -> dict[str, Any]:
    path = run / run_folder.CONFIG
    if not path.is_file():
        raise InputError("the run folder has no configuration", where=str(path))
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values if isinstance(values, dict) else {}
