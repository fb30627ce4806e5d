"""Warnings while training, each with a remedy: what goes wrong slowly and shows in the end otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from assent.config import AlarmsConfig

logger = logging.getLogger(__name__)

SMOOTHING = 0.8
"""Weight of the past in the running means, so that one odd step raises no alarm."""


def alarms_of(means: Mapping[str, float], limits: AlarmsConfig) -> dict[str, str]:
    """The alarms that running means raise, by name.

    Args:
        means: of the metrics `log_ratio/chosen`, `longer/policy` and `longer/judge`.
        limits: when to warn.
    """
    raised: dict[str, str] = {}
    drop = -means.get("log_ratio/chosen", 0.0)
    if limits.chosen_drop is not None and drop > limits.chosen_drop:
        raised["chosen_drop"] = (
            f"the chosen answers lost {drop:.1f} nats against the reference (limit {limits.chosen_drop:g}): good "
            "answers are unlearned too. Add imitation (objective: [{dpo: {}}, {sft: {weight: 0.2}}]), use dpop, "
            "raise beta or lower the learning rate"
        )
    if {"longer/policy", "longer/judge"} <= set(means) and limits.length_bias is not None:
        bias = means["longer/policy"] - means["longer/judge"]
        if bias > limits.length_bias:
            raised["length_bias"] = (
                f"the policy prefers the longer answer in {means['longer/policy']:.0%} of the pairs, the judge in "
                f"{means['longer/judge']:.0%}: it learns length. Use an objective that takes means over tokens "
                "(ln_dpo, simpo) or length_dpo"
            )
    return raised


class Alarms(TrainerCallback):
    """Watches the logs; every alarm is told once, logged with the metrics, and told again only after it ended."""

    def __init__(self, limits: AlarmsConfig, tell: Callable[[str], None] | None = None) -> None:
        self.limits = limits
        self.tell = tell or logger.warning
        self.means: dict[str, float] = {}
        self.raised: dict[str, str] = {}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Updates the running means and warns."""
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        for name in ("log_ratio/chosen", "longer/policy", "longer/judge"):
            if name in logs:
                past = self.means.get(name, logs[name])
                self.means[name] = SMOOTHING * past + (1 - SMOOTHING) * logs[name]
        raised = alarms_of(self.means, self.limits)
        for name, text in raised.items():
            if name not in self.raised:
                self.tell(f"step {state.global_step}: {text}")
        self.raised = raised
        if raised:
            logs["alarms"] = ", ".join(sorted(raised))
