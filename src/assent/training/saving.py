"""The Trainer's checkpoints: whole or not at all, with everything that a resumed run needs."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import rotate_checkpoints

from assent.errors import InputError
from assent.likelihood.policy import Policy
from assent.objectives import Objective
from assent.training import checkpoints
from assent.training.order import StepOrder
from assent.training.step import StepFunction
from assent.training.weights import load_weights, save_weights

logger = logging.getLogger(__name__)


class AfterEachStep(TrainerCallback):
    """Moves a reference that follows the policy, and ends training, saved, once all ranks know of an interrupt."""

    def __init__(self, trainer: SavingTrainer) -> None:
        self.trainer = trainer

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Comes before the step's checkpoint, which holds the moved reference."""
        following = getattr(self.trainer.step_function.reference, "update", None)
        if following is not None:
            following(state.global_step)
        if self.trainer.interrupted:
            control.should_save = True
            control.should_training_stop = True


class SavingTrainer(Trainer):
    """The part of the trainer that saves, resumes and stops; `PreferenceTrainer` brings the rest."""

    policy: Policy
    objective: Objective
    order: StepOrder
    step_function: StepFunction
    facts: Mapping[str, Any]
    interrupted = False
    asked_to_stop = False
    _logged_at = 0.0
    _workshop: str | None = None

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains; `True` resumes from the newest complete checkpoint. An interrupt saves first."""
        if resume_from_checkpoint is True:
            found = checkpoints.newest_complete(Path(self.args.output_dir))
            for path, reason in found.skipped:
                logger.warning("%s is passed over: %s", path, reason)
            resume_from_checkpoint = None if found.path is None else str(found.path)
        self._logged_at = time.monotonic()
        with self._saving_on_interrupt():
            output = super().train(resume_from_checkpoint, *args, **kwargs)
        if self.interrupted:
            raise KeyboardInterrupt
        return output

    @contextmanager
    def _saving_on_interrupt(self) -> Iterator[None]:
        """The first interrupt ends the run after its step, saved; the second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self.asked_to_stop:
                raise KeyboardInterrupt
            self.asked_to_stop = True
            logger.warning("interrupted: saving after this step (once more: stop at once)")

        previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Writes a checkpoint under another name, completes it with our own state, and renames it."""
        run_folder = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        workshop, limit = run_folder / checkpoints.UNFINISHED, self.args.save_total_limit
        if self.args.should_save:
            checkpoints.clear_unfinished(run_folder)
            workshop.mkdir(parents=True, exist_ok=True)
        self._barrier()
        self._workshop, self.args.save_total_limit = str(workshop), None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._workshop, self.args.save_total_limit = None, limit
        self._barrier()
        if self.args.should_save:
            self._complete(workshop / name)
            checkpoints.put_in_place(workshop / name, run_folder / name)
            checkpoints.clear_unfinished(run_folder)
            rotate_checkpoints(str(run_folder), limit, self.state.best_model_checkpoint)
        self._barrier()

    def _get_output_dir(self, trial: Any) -> str:
        return self._workshop or str(super()._get_output_dir(trial))

    def _complete(self, written: Path) -> None:
        best = self.state.best_global_step
        if best:
            place = Path(self.args.output_dir) / f"checkpoint-{best}"
            self.state.best_model_checkpoint = str(place)
            self.state.save_to_json(str(written / "trainer_state.json"))
        if isinstance(self.objective, nn.Module):
            torch.save(self.objective.state_dict(), written / checkpoints.OBJECTIVE)
        following = getattr(self.step_function.reference, "state_dict", None)
        if following is not None:
            torch.save(following(), written / checkpoints.REFERENCE)
        checkpoints.write_json(
            written / checkpoints.FACTS,
            {
                "step": self.state.global_step,
                "max_tokens_per_micro_batch": self.step_function.budget,
                "comparisons_per_step": self.order.per_step,
                "seed": self.args.seed,
                **self.facts,
            },
        )
        checkpoints.write_manifest(written)

    def _barrier(self) -> None:
        if self.args.world_size > 1:
            dist.barrier()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        inner = None
        if state_dict is not None:
            inner = {name.removeprefix("model."): value for name, value in state_dict.items()}
        save_weights(self.policy.model, folder, inner)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        checkpoints.clear_unfinished(folder.parent)
        load_weights(self.policy.model, folder)
        if isinstance(self.objective, nn.Module) and (folder / checkpoints.OBJECTIVE).is_file():
            self.objective.load_state_dict(torch.load(folder / checkpoints.OBJECTIVE, weights_only=True))
        following = getattr(self.step_function.reference, "load_state_dict", None)
        if following is not None and (folder / checkpoints.REFERENCE).is_file():
            following(torch.load(folder / checkpoints.REFERENCE, weights_only=True))
        self._take_facts(folder)

    def _take_facts(self, folder: Path) -> None:
        """Goes on under the checkpoint's token budget; a step of another size or seed would be another run."""
        path = folder / checkpoints.FACTS
        if not path.is_file():
            return
        facts = json.loads(path.read_text())
        own = {"comparisons_per_step": self.order.per_step, "seed": self.args.seed, **self.facts}
        for name, value in own.items():
            if name in facts and facts[name] != value:
                raise InputError(
                    f"the checkpoint belongs to a run with another `{name}`",
                    where=str(path),
                    found=str(value),
                    expected=str(facts[name]),
                    remedy="Set it back, or start anew in another output_dir",
                )
        self.step_function.budget = int(facts["max_tokens_per_micro_batch"])

    def _load_best_model(self) -> None:
        load_weights(self.policy.model, Path(self.state.best_model_checkpoint))
