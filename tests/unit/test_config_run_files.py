"""Run files: what is read, what is refused, and what the messages say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments

from assent.config import TRAINING_FIELDS, from_trl, load_run, run_from, run_schema
from assent.errors import InputError

RUN = """\
model: org/model
data: prefs.jsonl
objective: {dpo: {beta: 0.1}}
training:
  output_dir: out
  learning_rate: 5e-6
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_the_design_example_is_read(tmp_path: Path) -> None:
    config = load_run(
        write(
            tmp_path,
            """
model: Qwen/Qwen2.5-0.5B-Instruct
reference: model
data:
  train: [{path: a.jsonl, weight: 0.7}, {path: org/name, split: train}]
  eval: {split: 0.05}
  columns: {prompt: question, chosen: good}
  max_length: 2048
  truncate: drop
  score_turns: last
objective: {dpo: {beta: 0.1}}
peft: {r: 16, target_modules: all-linear}
training: {output_dir: out, learning_rate: 5.0e-6, num_train_epochs: 1}
""",
        )
    )
    assert config.model.path == "Qwen/Qwen2.5-0.5B-Instruct"
    assert config.reference is not None
    assert config.reference.source == "model"
    assert [source.weight for source in config.data.train] == [0.7, None]
    assert config.data.eval is not None
    assert config.data.eval.split == 0.05
    assert config.peft == {"r": 16, "target_modules": "all-linear"}
    assert config.output_dir == "out"


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    config = load_run(write(tmp_path, RUN.replace("{beta: 0.1}", "{beta: 1e-1}")), ["training.weight_decay=1e-2"])
    assert config.training["learning_rate"] == 5e-6
    assert config.training["weight_decay"] == 0.01
    assert config.objective == {"dpo": {"beta": 0.1}}


@pytest.mark.parametrize(
    ("line", "key", "nearest"),
    [
        ("modle: x", "modle", "`model`"),
        ("data: {trian: a}", "data.trian", "`train`"),
        ("training: {learning_rat: 1}", "training.learning_rat", "`learning_rate`"),
        ("peft: {rank: 8}", "peft.rank", "`r`"),
        ("quantization: {load_in_4bits: true}", "quantization.load_in_4bits", "`load_in_4bit`"),
        ("learning_rate: 1e-5", "learning_rate", "`training.learning_rate`"),
        ("beta: 0.1", "beta", "`objective.<name>.beta`"),
        ("alarms: {chosen_dorp: 3}", "alarms.chosen_dorp", "`chosen_drop`"),
    ],
)
def test_an_unknown_key_names_the_nearest_and_its_line(tmp_path: Path, line: str, key: str, nearest: str) -> None:
    section = line.split(":")[0]
    kept = "".join(f"{row}\n" for row in RUN.splitlines() if not row.startswith((f"{section}:", "  ", "training")))
    with pytest.raises(InputError) as caught:
        load_run(write(tmp_path, f"{kept}{line}\n"))
    assert f"run.yaml:{kept.count(chr(10)) + 1}" in str(caught.value)
    assert f"`{key}`" in str(caught.value)
    assert nearest in str(caught.value)


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run.yaml:7.*twice"):
        load_run(write(tmp_path, RUN + "model: other\n"))


@pytest.mark.parametrize(
    ("assignment", "found"),
    [
        ("objective.dpo.beta=0.05", lambda config: config.objective["dpo"]["beta"] == 0.05),
        ("training.max_steps=7", lambda config: config.training["max_steps"] == 7),
        ("data.max_length=null", lambda config: config.data.max_length is None),
        ("model.dtype=float64", lambda config: config.model.path == "org/model" and config.model.dtype == "float64"),
        ("data.train.0.weight=2", lambda config: config.data.train[0].weight == 2),
        ("data.labels={threshold: 3.5}", lambda config: config.data.labels.threshold == 3.5),
        ("peft={r: 4}", lambda config: config.peft == {"r": 4}),
        ("dropout=true", lambda config: config.dropout is True),
    ],
)
def test_any_key_can_be_set_from_the_command_line(tmp_path: Path, assignment: str, found) -> None:  # type: ignore[no-untyped-def]
    text = RUN.replace("data: prefs.jsonl", "data: {train: [prefs.jsonl]}")
    if "train.0" in assignment:
        text = RUN.replace("data: prefs.jsonl", "data: {train: [{path: prefs.jsonl}]}")
    assert found(load_run(write(tmp_path, text), [assignment]))


def test_an_override_reaches_below_a_shorthand(tmp_path: Path) -> None:
    text = RUN.replace("{dpo: {beta: 0.1}}", "dpo")
    config = load_run(write(tmp_path, text), ["objective.dpo.beta=0.3", "data.max_length=99", "data.eval.split=0.2"])
    assert config.objective == {"dpo": {"beta": 0.3}}
    assert config.data.train[0].path == "prefs.jsonl"
    assert config.data.max_length == 99


def test_a_wrong_override_is_named_by_its_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"command line.*data\.max_lenth=3"):
        load_run(write(tmp_path, RUN), ["data.max_lenth=3"])
    with pytest.raises(InputError, match="key=value"):
        load_run(write(tmp_path, RUN), ["data.max_length"])


@pytest.mark.parametrize(
    "damage",
    ["model: [", "- 1\n- 2\n", "model: {path: a}\ndata: a\nobjective: dpo\nseed: -1\n", "model: a\ndata: b\n", ""],
)
def test_damaged_run_files_are_input_errors(tmp_path: Path, damage: str) -> None:
    with pytest.raises(InputError):
        load_run(write(tmp_path, damage))


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run file"):
        load_run(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="folder"):
        load_run(tmp_path)


def test_every_training_argument_is_listed() -> None:
    missing = {field.name for field in dataclasses.fields(TrainingArguments)} - set(TRAINING_FIELDS)
    assert not missing, f"say in the table what happens to {sorted(missing)}"


@pytest.mark.parametrize("name", [name for name, rule in TRAINING_FIELDS.items() if rule.kind == "refused"])
def test_refused_fields_say_why(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        run_from({**yaml.safe_load(RUN), "training": {name: 0.123}})
    assert TRAINING_FIELDS[name].note in str(caught.value)
    assert len(TRAINING_FIELDS[name].note) > 20


@pytest.mark.parametrize("spelling", ["gradient_checkpointing", "activation_checkpointing"])
def test_both_spellings_of_checkpointing_are_one_setting(spelling: str) -> None:
    config = run_from({**yaml.safe_load(RUN), "training": {spelling: True}})
    assert config.training == {"gradient_checkpointing": True}


def test_the_older_share_of_warmup_is_understood() -> None:
    config = run_from({**yaml.safe_load(RUN), "training": {"warmup_ratio": 0.1}})
    assert config.training == {"warmup_steps": 0.1}


def test_a_resolved_configuration_reads_back(tmp_path: Path) -> None:
    config = load_run(write(tmp_path, RUN), ["data.eval.split=0.2", "data.labels={threshold: 2}"])
    again = tmp_path / "config.resolved.yaml"
    again.write_text(yaml.safe_dump(config.resolved()))
    assert load_run(again).resolved() == config.resolved()


def test_the_schema_accepts_what_is_accepted_and_lists_training() -> None:
    schema = json.loads(json.dumps(run_schema()))
    assert schema["additionalProperties"] is False
    assert schema["properties"]["training"]["properties"]["learning_rate"]["type"] == "number"
    assert "deepspeed" not in schema["properties"]["training"]["properties"]
    assert "r" in schema["properties"]["peft"]["properties"]
    for section in schema["$defs"].values():
        assert section["additionalProperties"] is False


def test_trl_configurations_are_translated(tmp_path: Path) -> None:
    path = tmp_path / "dpo.yaml"
    path.write_text(
        "model_name_or_path: org/model\ndataset_name: org/data\nloss_type: [sigmoid, bco_pair, sft]\n"
        "loss_weights: [0.8, 0.2, 1.0]\nbeta: 0.05\nlearning_rate: 5e-7\nper_device_train_batch_size: 2\n"
        "gradient_checkpointing: true\nuse_peft: true\nlora_r: 16\nmax_length: 1024\ntruncation_mode: keep_end\n"
        "sync_ref_model: true\nref_model_mixup_alpha: 0.5\nprecompute_ref_log_probs: true\nuse_liger_kernel: true\n"
        "tools: null\noutput_dir: out\n"
    )
    made = from_trl(path)
    assert made.unknown == ["tools"]
    assert {"precompute_ref_log_probs", "use_liger_kernel"} <= set(made.notes)
    config = run_from(made.values)
    assert config.objective == [
        {"dpo": {"beta": 0.05, "weight": 0.8}},
        {"bco_pair": {"beta": 0.05, "weight": 0.2}},
        {"sft": {"weight": 1.0}},
    ]
    assert config.peft == {"r": 16}
    assert config.data.truncate == "prompt_left"
    assert config.reference is not None
    assert config.reference.sync is not None
    assert config.reference.sync.mix == 0.5
    assert config.training["learning_rate"] == 5e-7


def test_every_trl_loss_has_a_counterpart_that_builds() -> None:
    from assent.config.trl import LOSSES, translate
    from assent.objectives import build_objective

    for name in LOSSES:
        made = translate({"loss_type": name, "beta": 0.2, "label_smoothing": 0.05})
        try:
            build_objective(made.values["objective"])
        except InputError as error:
            if "no objective is called" not in str(error):
                raise
