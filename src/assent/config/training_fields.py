"""Every field of `transformers.TrainingArguments`: passed on, translated, or refused with the reason.

One table for all supported versions: a field that the installed version lacks is simply not offered. A test walks
the installed version's fields and fails on one that is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """What happens to a field of `training:`.

    Args:
        kind: passed on as it is, translated, or refused.
        note: for translated fields what becomes of them, for refused ones the reason and the remedy.
    """

    kind: Literal["passed", "translated", "refused"]
    note: str = ""


_PASSED = (
    "output_dir num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim "
    "optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon optim_target_modules max_grad_norm bf16 fp16 tf32 "
    "torch_empty_cache_steps logging_strategy logging_steps logging_first_step log_on_each_node log_level "
    "log_level_replica report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id "
    "eval_strategy eval_steps eval_delay eval_on_start save_strategy save_steps save_on_each_node save_total_limit "
    "load_best_model_at_end metric_for_best_model greater_is_better full_determinism use_cpu ddp_bucket_cap_mb "
    "ddp_backend ddp_timeout ddp_broadcast_buffers skip_memory_metrics debug "
    "restore_callback_states_from_checkpoint local_rank"
)

_TRANSLATED = {
    "per_device_train_batch_size": "comparisons per step = this x gradient_accumulation_steps x ranks",
    "gradient_accumulation_steps": "sizes the step; micro-batches are cut by max_tokens_per_micro_batch",
    "gradient_checkpointing": "switched on in the wrapped model",
    "gradient_checkpointing_kwargs": "goes with gradient_checkpointing",
    "activation_checkpointing": "the newer name of gradient_checkpointing; both work on every version",
    "activation_checkpointing_kwargs": "goes with activation_checkpointing",
    "warmup_ratio": "the older name of a share given as warmup_steps",
    "dataloader_drop_last": "leaves out the last, short step of an epoch",
    "disable_tqdm": "switches Assent's own progress display off",
    "ddp_find_unused_parameters": "false unless set",
    "seed": "the run file's `seed` unless set here",
    "data_seed": "the seed of the order of the data; `seed` unless set",
    "fsdp": "needs an accelerator; not tested on a device",
    "fsdp_config": "goes with fsdp",
}

_STEP = "An optimizer step is drawn by (seed, epoch, step) and cut by tokens"
_EVALUATION = "Evaluation takes the training path and its token budget, and gathers sums only; leave it out"
_HUB = "Nothing is uploaded while training; upload the run folder's `model/` afterwards"
_REFUSED = {
    "label_smoothing_factor": "It smooths token labels; see objective.dpo.label_smoothing",
    "average_tokens_across_devices": "A step's loss is always the mean over all ranks; leave it out",
    "bf16_full_eval": _EVALUATION,
    "fp16_full_eval": _EVALUATION,
    "per_device_eval_batch_size": _EVALUATION,
    "prediction_loss_only": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "eval_use_gather_object": _EVALUATION,
    "eval_accumulation_steps": _EVALUATION,
    "include_for_metrics": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "label_names": _EVALUATION,
    "torch_compile": "Micro-batches differ in shape, so that graphs would be compiled again and again; leave it out",
    "torch_compile_backend": "Micro-batches differ in shape; leave it out",
    "torch_compile_mode": "Micro-batches differ in shape; leave it out",
    "use_liger_kernel": "The head is tiled already and gives log-probabilities, not a loss; leave it out",
    "liger_kernel_config": "The head is tiled already; leave it out",
    "use_cache": "Training computes whole rows; a cache would only cost memory; leave it out",
    "neftune_noise_alpha": "Noise per micro-batch would make results depend on the token budget; leave it out",
    "auto_find_batch_size": "Memory is bounded by max_tokens_per_micro_batch; the step stays as large as you say",
    "logging_nan_inf_filter": "It would log 0 for a NaN step; a non-finite loss always stops the run",
    "include_num_input_tokens_seen": "Tokens are always counted; see num_tokens in metrics.jsonl",
    "save_only_model": "Without optimizer state nothing can be resumed; `model/` has the weights alone",
    "enable_jit_checkpoint": "An interrupt always saves a checkpoint; leave it out",
    "push_to_hub": _HUB,
    "hub_token": _HUB,
    "hub_private_repo": _HUB,
    "hub_model_id": _HUB,
    "hub_strategy": _HUB,
    "hub_always_push": _HUB,
    "hub_revision": _HUB,
    "ignore_data_skip": "A resumed run takes the same steps as an uninterrupted one; leave it out",
    "accelerator_config": f"{_STEP}; nothing is left for accelerate to dispatch",
    "parallelism_config": "Tensor and sequence parallel training is not tested with this trainer",
    "dataloader_num_workers": "Comparisons are tokenised before training; steps are lists of indices",
    "dataloader_pin_memory": "Comparisons are tokenised before training; leave it out",
    "dataloader_persistent_workers": "There are no data workers; leave it out",
    "dataloader_prefetch_factor": "There are no data workers; leave it out",
    "dataloader_multiprocessing_context": "There are no data workers; leave it out",
    "dataloader_in_order": "There are no data workers; leave it out",
    "remove_unused_columns": "Comparisons are records, not columns; leave it out",
    "train_sampling_strategy": f"{_STEP}: padding is small already; leave it out",
    "group_by_length": f"{_STEP}: padding is small already; leave it out",
    "length_column_name": f"{_STEP}; leave it out",
    "ddp_static_graph": "Micro-batches differ from step to step; leave it out",
    "deepspeed": "It has not been tested on a device; use torchrun with DDP, or fsdp",
    "do_train": "`assent train` trains; leave it out",
    "do_eval": "Set eval_strategy and data.eval instead",
    "do_predict": "Use `assent eval` or `assent generate`",
    "resume_from_checkpoint": "Use `assent train run.yaml --resume`",
    "logging_dir": "Trackers take their folder from their own settings; metrics.jsonl is always written",
    "overwrite_output_dir": "Choose another output_dir, or --resume",
    "save_safetensors": "Weights are always saved as safetensors; leave it out",
    "place_model_on_device": "Decided by the trainer; leave it out",
}

TRAINING_FIELDS: dict[str, Rule] = {
    **{name: Rule("passed") for name in _PASSED.split()},
    **{name: Rule("translated", note) for name, note in _TRANSLATED.items()},
    **{name: Rule("refused", note) for name, note in _REFUSED.items()},
}
"""The one table, for the fields of all supported versions."""

RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "rank": "r",
    "alpha": "lora_alpha",
}
"""Names that people try, and the field that they mean; named in the error."""
