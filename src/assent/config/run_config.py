"""The run file as a checked object. Nothing is loaded here: no model, no data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from assent.config.reading import RawRun

Dtype = Literal["auto", "float32", "float64", "bfloat16", "float16"]


class _Section(BaseModel):
    """Unknown keys are errors; nothing is converted silently from one kind of value to another."""

    model_config = ConfigDict(extra="forbid", validate_default=True, protected_namespaces=())


class ModelConfig(_Section):
    """The model that is aligned. `model: path` is short for `model: {path: path}`."""

    path: str = Field(description="Hub name or folder of the starting weights.")
    adapter: str | None = Field(
        None, description="An adapter on top of the weights, the starting policy; a new `peft:` is stacked on it."
    )
    tokenizer: str | None = Field(None, description="Hub name or folder of the tokenizer; default: the model's.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    dtype: Dtype = Field(
        "auto", description="Type of the weights in memory; auto: float32 if they are trained, else as saved."
    )
    attention: str = Field("auto", description="Attention of transformers: auto, sdpa, eager, flash_attention_2, ...")
    layout: Literal["auto", "shared", "padded"] = Field(
        "auto", description="shared: prompts are computed once per comparison; padded: one padded row per candidate."
    )
    trust_remote_code: bool = Field(False, description="Run code that comes with the model.")


class SyncConfig(_Section):
    """A reference that follows the policy."""

    every: int = Field(512, ge=1, description="Optimizer steps between two updates of the reference.")
    mix: float = Field(0.6, gt=0, le=1, description="Share of the policy's weights in each update.")


class ContrastConfig(_Section):
    """Two models whose log-ratio says what each token is worth: one that writes good answers, one that writes bad."""

    positive: str = Field(description="Folder or hub name of a model (or adapter) trained on the pairs as they are.")
    negative: str = Field(description="The same for one that was trained on the pairs reversed.")


class ReferenceConfig(_Section):
    """What log-ratios are taken against. `reference: path` is short for `reference: {source: path}`."""

    source: str = Field("model", description="model (the starting policy), none, or a hub name or folder.")
    adapter: str | None = Field(None, description="An adapter on the starting weights that is the reference.")
    sync: SyncConfig | None = Field(None, description="Let the reference follow the policy.")
    contrast: ContrastConfig | None = Field(None, description="The two models that weigh tokens (tis_dpo).")
    store: str | None = Field(
        None, description="Folder of the store of reference log-probabilities; default: the user's cache; none: live."
    )


class SourceConfig(_Section):
    """One set of comparisons."""

    path: str = Field(description="File, folder or hub name.")
    split: str | None = Field(None, description="Split of a hub data set.")
    name: str | None = Field(None, description="Configuration of a hub data set.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    format: str | None = Field(None, description="Row format; default: detected.")
    columns: dict[str, str] | None = Field(None, description="Our name: the column's name; overrides detection.")
    weight: float | None = Field(None, gt=0, description="Share in the mixture; default: as large as the set is.")
    limit: int | None = Field(None, ge=1, description="Use only so many records from the start.")


class EvalConfig(_Section):
    """What is held out. `eval: path` is short for `eval: {sources: [path]}`."""

    split: float | None = Field(None, gt=0, lt=1, description="Share of the training records that is held out.")
    sources: list[SourceConfig] | None = Field(None, description="Sets of their own.")

    @model_validator(mode="after")
    def _one_way(self) -> EvalConfig:
        if (self.split is None) == (self.sources is None):
            raise ValueError("give either `split` or `sources`")
        return self


class LabelThreshold(_Section):
    """Labels from scores: above is good, below is bad, equal is unknown."""

    threshold: float


class DataConfig(_Section):
    """The comparisons and how they become tokens. `data: path` is short for `data: {train: [path]}`."""

    train: list[SourceConfig] = Field(default_factory=list, description="Sets to train on.")
    eval: EvalConfig | None = Field(None, description="What is held out.")
    columns: dict[str, str] | None = Field(None, description="Our name: the column's name, for all sets.")
    format: str | None = Field(None, description="Row format of all sets; default: detected.")
    on_invalid: Literal["error", "quarantine"] = Field(
        "error", description="What happens to rows that cannot be read."
    )
    max_length: int | None = Field(2048, ge=2, description="Longest candidate in tokens, prompt included.")
    truncate: Literal["drop", "prompt_left", "completion_right"] = Field(
        "drop", description="What happens to longer ones; never leaves an empty completion."
    )
    score_turns: Literal["last", "all_differing"] = Field("last", description="Which assistant turns are scored.")
    pairs: Literal["best_worst", "all", "adjacent", "refuse"] = Field(
        "best_worst", description="Which pairs are made of lists, for objectives over pairs."
    )
    labels: Literal["from_pairs", "refuse"] | LabelThreshold = Field(
        "from_pairs", description="How labels are made of scores, for objectives over labels."
    )
    chat_template: str | None = Field(None, description="`transcript`, or Jinja text in place of the tokenizer's.")
    template_options: dict[str, Any] | None = Field(None, description="Variables of the chat template.")

    @field_validator("train", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> Any:
        return sources(value)


class AlarmsConfig(_Section):
    """When training warns. A null switches an alarm off."""

    chosen_drop: float | None = Field(
        30.0, gt=0, description="Nats by which the chosen answers may fall below the reference."
    )
    length_bias: float | None = Field(
        0.2, gt=0, le=1, description="By how much more often than the judge the policy may prefer the longer answer."
    )


class FixedNoise(_Section):
    """Draws that a record keeps for ever: `noise: {fixed: 4}`."""

    fixed: int = Field(ge=1, description="Draws of a record.")


class InversionConfig(_Section):
    """Noisy latents that the model itself inverts from the pictures (InPO)."""

    hops: int = Field(10, ge=1, description="Levels of the grid.")
    eta: float = Field(0.1, ge=0, description="Fresh noise that each hop adds.")
    mode: Literal["exact", "grid"] = Field(
        "exact", description="exact: the last hop lands on the timestep; grid: on the grid level below it."
    )


class RolloutConfig(_Section):
    """Pairs that the policy itself makes while it trains: steps of its sampler, judged one by one (SPO)."""

    judge: str = Field(
        description="A step-aware model of pictures and texts (folder), a plain one (CLIP, PickScore), or "
        "package.module:function of (pixels, prompts, timesteps)."
    )
    steps: int = Field(20, ge=3, description="Steps of the sampler.")
    guidance: float = Field(5.0, ge=1, description="Classifier-free guidance while sampling and in the loss.")
    eta: float = Field(1.0, gt=0, description="How stochastic a step is.")
    candidates: int = Field(4, ge=2, description="Steps tried from each state.")
    first: int = Field(4, ge=0, description="Sampler step from which on candidates are tried.")
    threshold: float = Field(
        0.3, ge=0, lt=1, description="Least difference of the two probabilities of best and worst for a pair."
    )


class LatentsConfig(_Section):
    """How latents are kept: `latents: {cache: 4}`."""

    cache: int = Field(
        1,
        ge=1,
        description="Cuts of each picture that are kept; a step takes one, alike for a whole comparison.",
    )
    folder: str | None = Field(None, description="Where; default: the user's cache.")


class DiffusionConfig(_Section):
    """How a diffusion pipeline is aligned; `model` is then a folder of diffusers."""

    resolution: int | None = Field(None, ge=8, description="Pixels of a side; default: what the model was made for.")
    noise: Literal["fresh"] | FixedNoise = Field("fresh", description="fresh in every step, or fixed for a record.")
    draws: int = Field(1, ge=1, description="Draws of timestep and noise for a comparison, where noise is fresh.")
    timesteps: list[int] | None = Field(
        None,
        description="Timesteps to draw from, for models distilled to a few: [249, 499, 749, 999]; default: all.",
    )
    weighting: Literal["constant", "noise", "clean", "min_snr"] = Field(
        "constant",
        description="How errors count by noise level: as they are, as errors of the noise, of the clean picture, or "
        "of the clean picture under a bounded signal-to-noise ratio.",
    )
    min_snr_gamma: float = Field(5.0, gt=0, description="The bound of min_snr.")
    empty_prompt: float = Field(
        0.2, ge=0, lt=1, description="How often a comparison is trained under an empty prompt, which guidance needs."
    )
    rollout: RolloutConfig | None = Field(
        None, description="Train on judged steps of the policy's own sampler; the data are then prompts."
    )
    inversion: InversionConfig | None = Field(None, description="Invert latents instead of drawing noise.")
    latents: str | LatentsConfig | None = Field(
        None, description="Folder that keeps latents and text embeddings, or {cache: n}; default: the user's cache."
    )
    samples: int = Field(4, ge=0, description="Prompts that are drawn before and after training, for the report.")
    sampler_steps: int = Field(25, ge=1, description="Steps of the sampler for these.")
    guidance: float = Field(5.0, ge=1, description="Strength of classifier-free guidance for these.")


class RunConfig(_Section):
    """A run: a model, data, and an objective or a preference model."""

    model: ModelConfig = Field(
        default_factory=lambda: ModelConfig(path=""),
        description="What is aligned; needed unless `features` is given.",
    )
    reference: ReferenceConfig | None = Field(None, description="Default: what the objective needs.")
    data: DataConfig = Field(default_factory=lambda: DataConfig())
    objective: str | dict[str, Any] | list[Any] | None = Field(
        None, description="A name, {name: options}, or a list of them (a weighted sum)."
    )
    preference_model: str | dict[str, Any] | None = Field(None, description="Train a preference model instead.")
    features: dict[str, Any] | None = Field(
        None, description="Train the preference model on frozen features of this encoder, without a model."
    )
    diffusion: DiffusionConfig | None = Field(None, description="Where the model is a diffusion pipeline.")
    peft: dict[str, Any] | None = Field(None, description="Fields of peft.LoraConfig.")
    quantization: dict[str, Any] | None = Field(None, description="Fields of transformers.BitsAndBytesConfig.")
    training: dict[str, Any] = Field(default_factory=dict, description="Fields of transformers.TrainingArguments.")
    gradients: str | dict[str, Any] | None = Field(
        None, description="How the gradients of several terms are combined; default: summed."
    )
    max_tokens_per_micro_batch: int | Literal["auto"] = Field(
        "auto", description="Tokens that are computed at once; results do not depend on it."
    )
    dropout: bool = Field(False, description="Keep the model's dropout; off, every p is 0.")
    seed: int = Field(42, ge=0, description="Decides the order of the data and everything that is drawn.")
    alarms: AlarmsConfig = Field(default_factory=lambda: AlarmsConfig())
    _raw: RawRun | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _shorthands(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        if isinstance(values.get("model"), str):
            values["model"] = {"path": values["model"]}
        if isinstance(values.get("reference"), str):
            values["reference"] = {"source": values["reference"]}
        data = values.get("data")
        if isinstance(data, str | list):
            values["data"] = {"train": data}
        elif isinstance(data, Mapping) and data.get("eval") is not None:
            held_out = data["eval"]
            shorthand = not (isinstance(held_out, Mapping) and set(held_out) & {"split", "sources"})
            values["data"] = {**data, "eval": {"sources": held_out} if shorthand else held_out}
            if isinstance(values["data"]["eval"], Mapping) and "sources" in values["data"]["eval"]:
                values["data"]["eval"] = {
                    **values["data"]["eval"],
                    "sources": sources(values["data"]["eval"]["sources"]),
                }
        return values

    @field_validator("max_tokens_per_micro_batch")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be positive")
        return value

    @property
    def output_dir(self) -> str:
        """The run folder."""
        return str(self.training.get("output_dir") or "out")

    @property
    def weights_dtype(self) -> str | None:
        """The type of the weights in memory; None: as they were saved.

        Weights that are trained are float32 unless asked otherwise: in 16 bits the small steps of preference
        learning round to nothing. `training.bf16` computes in 16 bits all the same.
        """
        if self.model.dtype != "auto":
            return self.model.dtype
        return None if self.peft is not None or self.quantization is not None else "float32"

    def where(self, key: str) -> str | None:
        """File and line of a dotted key, where the configuration came from a file."""
        return None if self._raw is None else self._raw.where(key)

    def resolved(self) -> dict[str, Any]:
        """All settings as plain data, which read back give the same run."""
        return self.model_dump(mode="json")


def sources(value: Any) -> Any:
    """A list of source mappings from a path, a mapping or a list of both."""
    if isinstance(value, str | Mapping):
        value = [value]
    if isinstance(value, list):
        return [{"path": item} if isinstance(item, str) else item for item in value]
    return value
