"""The one trainer: `transformers.Trainer` with one optimizer step per batch and micro-batches inside."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from assent.encoding import EncodedComparison
from assent.errors import InputError, RunError
from assent.likelihood.policy import Policy, Reference
from assent.objectives import Objective
from assent.training import checkpoints
from assent.training.arguments import prepared_arguments
from assent.training.combining import GradientCombiner
from assent.training.engine import AccelerateEngine
from assent.training.evaluating import evaluated
from assent.training.metrics import Metrics
from assent.training.order import StepContents, StepKeys, StepOrder, only
from assent.training.saving import AfterEachStep, SavingTrainer
from assent.training.step import StepFunction, StepResult
from assent.training.wanted import evaluation_groups, steps_of, wanted_comparisons, with_helpers

DEFAULT_BUDGET = 8192
"""Tokens computed at once where nobody measured the memory."""


class PreferenceTrainer(SavingTrainer):
    """Trains a policy on comparisons.

    Args:
        policy: what is trained.
        objective: the loss.
        args: transformers' arguments; comparisons per step = per_device_train_batch_size x
            gradient_accumulation_steps x ranks.
        train_dataset: encoded comparisons.
        eval_dataset: encoded comparisons, or several sets by name.
        reference: log-probabilities under the reference, or None where the objective needs none.
        processing_class: the tokenizer, saved with every checkpoint.
        max_tokens_per_micro_batch: tokens that are computed at once; results do not depend on it.
        sources: (sizes, weights) of the sets that train_dataset is made of, one after the other.
        combiner: how the gradients of several terms become one.
        dropout: whether the model kept its dropout.
        facts: JSON-like facts that every checkpoint holds and a resumed run must share.
        callbacks: of transformers; optimizers: (optimizer, scheduler) in place of those that args name.
    """

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        args: TrainingArguments,
        train_dataset: Sequence[EncodedComparison],
        eval_dataset: Sequence[EncodedComparison] | Mapping[str, Sequence[EncodedComparison]] | None = None,
        *,
        reference: Reference | None = None,
        processing_class: Any = None,
        max_tokens_per_micro_batch: int = DEFAULT_BUDGET,
        sources: tuple[tuple[int, ...], tuple[float, ...] | None] | None = None,
        combiner: GradientCombiner | None = None,
        dropout: bool = False,
        facts: Mapping[str, Any] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        prepared = prepared_arguments(args, policy)
        try:
            Path(args.output_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("output_dir cannot be made", where=str(args.output_dir), found=str(error)) from None
        super().__init__(
            model=policy,
            args=prepared.arguments,
            data_collator=only,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        # Its own way of showing progress; ours is a callback of the caller's.
        self.remove_callback(PrinterCallback)
        self.add_callback(AfterEachStep(self))
        sizes, weights = sources or ((len(train_dataset),), None)
        self.policy, self.objective = policy, objective
        self.order = StepOrder(
            sizes, prepared.per_rank * self.args.world_size, prepared.data_seed, weights, prepared.drop_last
        )
        self.facts = dict(facts or {})
        self.step_function = StepFunction(
            policy,
            objective,
            reference,
            AccelerateEngine(self.accelerator, self.args.device),
            max_tokens_per_micro_batch,
            self.args.seed,
            combiner,
            dropout,
        )
        if isinstance(objective, nn.Module):
            objective.to(self.args.device)
        if reference is not None:
            self.use_reference(reference)
        self.metrics = Metrics(objective, self.args.device)
        self._logged_at = time.monotonic()

    # -- data: whole steps, never prepared by accelerate, which would shard and pad them

    def get_train_dataloader(self) -> DataLoader[Any]:
        """A loader of whole optimizer steps; it is the same on every rank."""
        contents = StepContents(self.train_dataset, self.order, self._step)
        keys = StepKeys(self.order, lambda: self.state.global_step // len(self.order))
        return DataLoader(
            contents,  # type: ignore[arg-type]  # it is indexed by keys of steps
            batch_sampler=keys,
            collate_fn=only,
        )

    def _step(self, comparisons: list[EncodedComparison], epoch: int, index: int) -> dict[str, Any]:
        number = epoch * len(self.order) + index
        whole = with_helpers(comparisons, self.objective.needs, self.args.seed, number, self.train_dataset)
        return {"comparisons": whole, "number": number}

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> float:
        """Six operations for each weight and each token of this rank's share."""
        tokens = sum(self.policy.cost(comparison) for comparison in inputs["comparisons"]) / self.args.world_size
        return float(6 * tokens * self._weights_used())

    def _weights_used(self) -> int:
        if not hasattr(self, "_counted_weights"):
            tables = {id(m.weight) for m in self.policy.modules() if isinstance(m, nn.Embedding)}
            self._counted_weights = sum(p.numel() for p in self.policy.parameters() if id(p) not in tables)
        return self._counted_weights

    def wanted(self) -> list[EncodedComparison]:
        """Every comparison this run will ask a reference for, helpers that are drawn while training included."""
        steps = steps_of(self.args, self.order)
        return wanted_comparisons(
            self.train_dataset, self.eval_dataset, self.objective.needs, self.order, steps, self.args.seed
        )

    def use_reference(self, reference: Reference) -> None:
        """Sets what log-ratios are taken against, before training starts."""
        frozen = getattr(reference, "policy", None)
        if isinstance(frozen, nn.Module):
            frozen.to(self.args.device)
        self.step_function.reference = reference

    # -- the step

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Leaves the step's gradient in `.grad` and returns a number whose mean over ranks is the step's loss."""
        model.train()
        self._latest = inputs["comparisons"]
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        self.step_function.progress = min(inputs["number"] / max(self.state.max_steps, 1), 1.0)
        result = self.step_function(model, inputs["comparisons"], inputs["number"], self.metrics.watch)
        self._check(result, inputs["comparisons"])
        return result.loss.to(torch.float32) if result.loss.device.type == "mps" else result.loss

    def _check(self, result: StepResult, comparisons: Sequence[EncodedComparison]) -> None:
        """One reduction over ranks: is the loss finite everywhere, and did anybody ask to stop?"""
        flags = torch.stack(
            [~result.loss.isfinite(), torch.tensor(self.asked_to_stop, device=result.loss.device)]
        ).to(torch.int32)
        if self.args.world_size > 1:
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        wrong, interrupted = flags.tolist()
        self.interrupted = bool(interrupted)
        if wrong:
            culprits = [
                name
                for names, losses in result.losses
                if losses.dim()
                for name, finite in zip(
                    names, losses.isfinite().reshape(len(names), -1).all(dim=1).tolist(), strict=True
                )
                if not finite
            ]
            self._stop("loss", culprits, comparisons)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """The norm before clipping; if not finite the run ends, unless a loss scaler will skip the step."""
        norm = super()._get_grad_norm(model, grad_norm)
        if getattr(self.accelerator, "scaler", None) is None and not bool(torch.isfinite(torch.as_tensor(norm))):
            self._stop("gradient", [], self._latest)
        return norm

    def _stop(self, what: str, culprits: Sequence[str], comparisons: Sequence[EncodedComparison]) -> None:
        step = self.state.global_step + 1
        named = culprits
        if self.args.world_size > 1:
            everyone: list[list[str] | None] = [None] * self.args.world_size
            dist.all_gather_object(everyone, list(culprits))
            named = sorted({name for some in everyone for name in some or ()})
        of = "" if named else " one of"
        named = named or [comparison.id for comparison in comparisons]
        place = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if checkpoints.what_is_wrong(place) is not None:
            self._save_checkpoint(self.model, None)
        listed = ", ".join(named[:16]) + (f" and {len(named) - 16} more" if len(named) > 16 else "")
        raise RunError(
            f"step {step}: the {what} is not finite, from{of} the comparisons {listed}. Training stopped before the "
            f"weights were changed; they are in {place}. Look at these records with `assent data inspect`, "
            "or lower training.learning_rate and resume"
        )

    # -- metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the step's metrics to a training log."""
        if "loss" in logs and "train_runtime" not in logs:
            found = self.metrics.take(self.args.world_size > 1)
            now = time.monotonic()
            found["tokens_per_second"] = found.get("num_tokens", 0.0) / max(now - self._logged_at, 1e-9)
            self._logged_at = now
            # Rules that combine gradients keep a record of how they lay to each other.
            found |= getattr(self.step_function.combiner, "record", {})
            logs |= {name: value for name, value in found.items() if name not in logs}
        super().log(logs, start_time)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Loss and metrics on held-out comparisons, each counted once."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if dataset is None:
            raise InputError("nothing is held out", field="data.eval", remedy="Set data.eval, or eval_strategy: no")
        if isinstance(dataset, Mapping):
            merged: dict[str, float] = {}
            for name, part in dataset.items():
                merged |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return merged
        started = time.monotonic()
        groups = evaluation_groups(dataset, self.objective.needs, self.args.seed, self.order.per_step)
        found = evaluated(self.step_function, self.model, groups, self.args.device)
        found["runtime"] = time.monotonic() - started
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
