"""The models that builders ask: local folders or an endpoint, everything they say kept in one journal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.errors import InputError
from assent.generation.cost import Ledger
from assent.judging.verdict import Judge
from assent.work.journal import Journal

if TYPE_CHECKING:
    from assent.generation import EndpointClient, Generator
    from assent.judging import Rubric

LOCAL = "local:"
"""Before a folder's name: run it here, whatever the endpoint."""


@dataclass(frozen=True)
class Models:
    """Where models are asked, and what it may cost.

    Args:
        journal: nothing that is in it is drawn, or paid for, twice.
        endpoint: OpenAI-compatible base URL; None: models are local folders, as are names after `local:`.
        ledger: prices and budget, the same for all models.
        concurrency: requests in flight.
        timeout: seconds until an answer counts as lost.
        key_variable: environment variable of the endpoint's key.
    """

    journal: Journal
    endpoint: str | None = None
    ledger: Ledger = field(default_factory=Ledger)
    concurrency: int = 16
    timeout: float = 120.0
    key_variable: str = "OPENAI_API_KEY"
    _loaded: dict[str, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    def generator(self, name: str) -> Generator:
        """Who draws texts under this name."""
        if not self._here(name):
            return self._client(name)
        from assent.generation import LocalGenerator
        from assent.generation.remembered_generator import RememberedGenerator

        folder = name.removeprefix(LOCAL)
        return RememberedGenerator(LocalGenerator(*self._local(folder), name=folder), self.journal, state_of(folder))

    def letter_judge(self, name: str, rubric: Rubric) -> Judge:
        """The model as a judge of pairs by the probabilities of two letters, asked in both orders."""
        from assent.judging.labels import EndpointLabels, LabelJudge

        if not self._here(name):
            return LabelJudge(EndpointLabels(self._client(name)), rubric)
        from assent.judging.local_labels import LocalLabels

        folder = name.removeprefix(LOCAL)
        judge = LabelJudge(LocalLabels(*self._local(folder), name=folder), rubric)
        return self.remembered(judge, "letters", state_of(folder), rubric.model_dump_json())

    def remembered(self, judge: Judge, *identity: str) -> Judge:
        """The judge with its verdicts kept under everything that decides them."""
        from assent.judging.remembered import RememberedJudge

        return RememberedJudge(judge, self.journal, json.dumps(identity))

    def _here(self, name: str) -> bool:
        return self.endpoint is None or name.startswith(LOCAL)

    def _client(self, name: str) -> EndpointClient:
        from assent.generation import Endpoint, EndpointClient

        assert self.endpoint is not None
        target = Endpoint(self.endpoint, name, self.key_variable, self.concurrency, self.timeout)
        return EndpointClient(target, self.journal, self.ledger)

    def _local(self, folder: str) -> tuple[Any, Any]:
        if folder not in self._loaded:
            # One at a time: whoever asks several models in turn must not hold them all.
            self._loaded.clear()
            self._loaded[folder] = load_local(folder)
        return self._loaded[folder]


def load_local(name: str, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """(model, tokenizer) on the accelerator where there is one."""
    import torch

    from assent.likelihood.loading import load_causal_lm

    model, tokenizer = load_causal_lm(name, trust_remote_code=trust_remote_code)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def state_of(name: str) -> str:
    """What tells one state of a model folder from another: its files' names, sizes and times; a hub name as it is."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    files = sorted(file for file in folder.iterdir() if file.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([str(folder.resolve()), stats])


def checked_names(names: list[str]) -> list[str]:
    """The names, each once."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("a model is named twice", field="model", found=twice[0])
    return names
