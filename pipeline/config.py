"""The shape of params.yaml, and of benchmark.yaml: types and limits, no values.

``load("stage2")`` gives that section alone, frozen, so that a stage cannot read what dvc.yaml does not declare for it.
The settings of a plug-in (``stage2.maf`` ...) are checked against its constructor, by ``registry.build``.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.base.errors import ConfigError, near_miss

PARAMS = Path("params.yaml")
BENCHMARK = Path("benchmark.yaml")
PRESET = "preset"  # the one setting that is no section; see flows.runtime.presets
GIVEN = frozenset({"path", "features", "loss", "needed"})  # arguments of plug-ins that stages fill in

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
Settings = Mapping[str, Any]
OpenShares = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Field(min_length=1),
]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


class Section(BaseModel):
    """Frozen, strict, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PluginSection(Section):
    """A section that holds, beside its own keys, one mapping of settings for each plug-in that can be chosen."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _only_mappings(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            if key not in cls.model_fields and not isinstance(value, dict):
                known = [*cls.model_fields]
                raise ValueError(f"{key}: unknown key{near_miss(key, known)}; known: {', '.join(known)}")
        return values

    def settings(self, plugin: str, known: Collection[str]) -> dict[str, Any]:
        """What the section says for ``plugin``; nothing said means its own defaults.

        Raises:
            ConfigError: the section holds settings for a name that is not among the ``known`` plug-ins.
        """
        extra = self.model_extra or {}
        for name in extra:
            if name not in known:
                miss, names = near_miss(name, known), ", ".join(sorted(known))
                raise ConfigError(f"{PARAMS}: settings for {name!r}, which is no plug-in{miss}; known: {names}")
        settings = dict(extra.get(plugin) or {})
        for name in GIVEN & set(settings):
            raise ConfigError(f"{PARAMS}: {plugin}.{name} is no setting; the pipeline gives it")
        return settings


class Ingest(PluginSection):
    """Raw files -> records."""

    dataset: str
    path: str
    max_rejected_share: Share


class ShortcutSettings(Section):
    """See ``pipeline.validation.ShortcutLimits``."""

    leak_auroc: Annotated[float, Field(ge=0.5, le=1)]
    leak_auroc_of_few: Annotated[float, Field(ge=0.5, le=1)]
    attack_auroc: Annotated[float, Field(ge=0.5, le=1)]
    known: Names
    rows: Annotated[int, Field(ge=100)]


class Validate(Section):
    """Largest shares of records that may break a rule; see ``pipeline.validation.Limits``."""

    missing_share: Share
    null_share: Share
    infinite_share: Share
    outside_share: Share
    identity_share: Share
    scrambled_share: Share
    duplicate_share: Share
    disagreeing_share: Share
    tolerance: Share
    open_vocabulary: bool
    shortcuts: ShortcutSettings


class Shares(Section):
    """Shares of the benign records for each split."""

    train: Share
    val: Share
    calibration: Share
    test_seen: Share
    test_unseen: Share

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Shares":
        total = sum(self.model_dump().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:g}, allowed is 1")
        if not self.train or not self.val or not self.calibration:
            raise ValueError("train, val and calibration need a share above 0")
        return self


class FeatureSettings(Section):
    """See ``pipeline.preprocessing.features.Recipe``."""

    fit_on: Literal["train", "benign"]
    drop: Names
    derive: Names
    fill: Literal["zero", "median", "indicator"]
    drop_constant: bool
    scaling: Literal["none", "standard", "signed_log", "unit", "quantile"]
    clip: Positive | None
    categorical: Literal["one_hot", "count"]
    rarity: Names


class Contamination(Section):
    """See ``pipeline.preprocessing.splits.contaminate``."""

    share: Annotated[float, Field(ge=0, lt=1)]
    attacks: Names
    seed: Seed


class Preprocess(Section):
    """Records -> features and splits."""

    seed: Seed
    unseen: Names
    test_days: Names
    attempted: Literal["exclude", "benign", "attack"]
    duplicates: Literal["group", "drop", "keep"]
    balance: Literal["asymmetric", "none"]
    contamination: Contamination
    shares: Shares
    features: FeatureSettings


class Fit(Section):
    """See ``pipeline.models.training.FitSettings``."""

    epochs: Annotated[int, Field(ge=1)]
    min_steps: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    optimizer: Literal["adam", "adamw"]
    gradient_clip: Annotated[float, Field(ge=0)]
    input_noise: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=0)]
    schedule: Literal["cosine", "constant", "plateau"]
    plateau_patience: Annotated[int, Field(ge=1)]
    plateau_of: Literal["train_loss", "val_loss"]
    least_learning_rate: Annotated[float, Field(ge=0)]
    keep: Literal["best", "last"]
    select: Literal["val_loss", "val_f1"]
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    devices: Annotated[int, Field(ge=1, le=1)]  # a stage is one process; training itself can do more
    strategy: Literal["auto", "ddp"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


class ConfidenceSettings(PluginSection):
    """See ``pipeline.models.training.Updates``; ``published`` and ``own`` stand for what the model says of itself."""

    initial: str | None
    updates: Literal["published", "always", "never"]
    thresholds: str
    rule: str
    every_n_epochs: Annotated[int, Field(ge=1)] | Literal["published"]
    warm_up: Annotated[int, Field(ge=1)] | Literal["published"]
    max_share: Annotated[float, Field(gt=0, le=1)]
    max_unknown_share: Share | Literal["own"]
    smoothing: Annotated[float, Field(ge=0, lt=1)]
    undo: bool


class Stage1(PluginSection):
    """Features -> latent."""

    encoder: str
    loss: str
    pass_features: bool
    confidence: ConfidenceSettings
    fit: Fit


class CalibrationSettings(Section):
    """Which benign records set the thresholds; see ``pipeline.calibration.cross_conformal``."""

    kind: Literal["auto", "cross", "split"]
    folds: Annotated[int, Field(ge=2)]  # a single one leaves no record out
    together: Names
    seed: Seed


class Stage2(PluginSection):
    """Latent -> score."""

    detector: str
    head: str
    calibration: CalibrationSettings
    confidence: ConfidenceSettings
    fit: Fit


class Calibrate(PluginSection):
    """Benign calibration scores -> thresholds."""

    fusion: str
    drawn_from: Literal["calibration", "train"]
    evidence: Literal["all"] | Names
    thresholds: str
    group: str | None
    percentiles: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=100)], ...],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(min_length=1),
    ]


class Bootstrap(Section):
    """See ``pipeline.evaluation.sections.Asked``."""

    rounds: Annotated[int, Field(ge=100)]
    seed: Seed


class Evaluate(Section):
    """Test scores -> metrics."""

    threshold: str
    groups: Names
    latent_map: Literal["pca", "umap"]
    latent_map_rows: Annotated[int, Field(ge=10)]
    fprs: OpenShares
    prevalences: OpenShares
    bootstrap: Bootstrap


class Workers(Section):
    """What a worker may use of its machine; see ``flows.runtime.gpu``."""

    gpu_workers: Annotated[int, Field(ge=0)] | Literal["auto"]


class Promotion(Section):
    """What a candidate must keep to; see ``pipeline.evaluation.promotion_gate.Rules``."""

    threshold: Annotated[str, Field(pattern=r"^p\d{1,2}(\.\d+)?$")]
    level: Annotated[float, Field(gt=0.5, lt=1)]
    rounds: Annotated[int, Field(ge=100)]
    seed: Seed
    fpr_margin: Share
    auroc_margin: Share
    recall_at_fpr: Annotated[float, Field(gt=0, lt=1)]
    recall_margin: Share
    alarm_drop: Share
    alarm_kept: Share
    family_drop: Share
    family_minimum: Annotated[int, Field(ge=1)]
    asked_margin: Annotated[float, Field(ge=0, lt=1)]
    min_benign: Annotated[int, Field(ge=1)]
    min_unseen: Annotated[int, Field(ge=1)]


class Retraining(Section):
    """When recent traffic is another one, and how far thresholds may follow; see ``pipeline.evaluation.drift``."""

    records: Annotated[int, Field(ge=100)]
    min_records: Annotated[int, Field(ge=50)]
    looks: Annotated[float, Field(gt=0, lt=1)]
    body: Annotated[float, Field(gt=0, lt=1)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    small: Annotated[float, Field(gt=0, le=1)]
    large: Annotated[float, Field(gt=0, le=1)]
    features: Annotated[float, Field(gt=0, le=1)]
    step: Annotated[float, Field(gt=1)]
    rate: Annotated[float, Field(gt=0, le=1)]
    seed: Seed

    @model_validator(mode="after")
    def _ordered(self) -> "Retraining":
        for low, high in (("looks", "body"), ("small", "large"), ("min_records", "records")):
            if not getattr(self, low) < getattr(self, high):
                raise ValueError(
                    f"{low} is {getattr(self, low):g}, allowed is less than {high}, {getattr(self, high):g}"
                )
        return self


class Design(Section):
    """Which records a grid of experiments reads, and which attacks nothing is fitted on; see ``flows.grid.cells``."""

    records: str
    unseen: Names = ()
    leave_out: Names = ()
    mix: Mapping[str, Annotated[int, Field(ge=1)]] = {}
    overrides: Settings = {}

    @model_validator(mode="after")
    def _one_kind(self) -> "Design":
        if bool(self.unseen) == bool(self.leave_out):
            raise ValueError("either unseen names attacks or leave_out names families, not both")
        if absent := sorted(set(self.mix) - set(self.unseen)):
            raise ValueError(f"mix: {', '.join(absent)} is not among unseen")
        return self


Word = Annotated[str, Field(pattern="^[a-z0-9_]+$")]  # part of the name of an experiment


class Benchmark(Section):
    """A grid of experiments: designs x seeds x configurations; see ``flows.benchmark``. It stands in benchmark.yaml."""

    path: str
    seeds: Annotated[
        tuple[Seed, ...],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(min_length=1),
    ]
    threshold: Annotated[str, Field(pattern=r"^p\d{1,2}(\.\d+)?$")]
    minimum: Annotated[int, Field(ge=1)]
    level: Annotated[float, Field(gt=0.5, lt=1)]
    designs: Annotated[Mapping[Word, Design], Field(min_length=1)]
    configurations: Annotated[Mapping[Word, Settings], Field(min_length=1)]


SECTIONS: dict[str, type[Section]] = {
    "ingest": Ingest,
    "validate": Validate,
    "preprocess": Preprocess,
    "stage1": Stage1,
    "stage2": Stage2,
    "calibrate": Calibrate,
    "evaluate": Evaluate,
}

FLOW_SECTIONS: dict[str, type[Section]] = {
    "workers": Workers,
    "promotion": Promotion,
    "retraining": Retraining,
}

S = TypeVar("S", bound=Section)


def load(section: type[S], path: Path = PARAMS) -> S:
    """The section of ``path`` that has the shape ``section``, frozen.

    Raises:
        ConfigError: the file or section is absent, or a key is unknown, of the wrong type or out of its limits.
    """
    return build(section, read(path), str(path))


def build(section: type[S], params: Mapping[str, Any], where: str) -> S:
    """The section of ``params``, all sections by name, that has the shape ``section``, frozen.

    Args:
        section: the shape.
        params: what ``read`` gives.
        where: they come from, for messages.

    Raises:
        ConfigError: the section is absent, or a key is unknown, of the wrong type or out of its limits.
    """
    sections = SECTIONS | FLOW_SECTIONS
    name = next(key for key, shape in sections.items() if shape is section)
    for key in params:
        if key not in sections and key != PRESET:
            known = ", ".join(sections)
            raise ConfigError(f"{where}: unknown section {key!r}{near_miss(key, sections)}; known: {known}")
    return _section(section, params, name, where)


def load_benchmark(path: Path = BENCHMARK) -> Benchmark:
    """The grid of experiments that ``path`` describes, frozen.

    Raises:
        ConfigError: the file is absent, or a key is unknown, of the wrong type or out of its limits.
    """
    return build_benchmark(read(path), str(path))


def build_benchmark(given: Mapping[str, Any], where: str = str(BENCHMARK)) -> Benchmark:
    """The grid of experiments that ``given``, the content of benchmark.yaml, describes; errors as above."""
    return _section(Benchmark, {"benchmark": given}, "benchmark", where)


def _section(section: type[S], params: Mapping[str, Any], name: str, where: str) -> S:
    if not isinstance(params.get(name), dict):
        raise ConfigError(f"{where}: section {name!r} is missing or no mapping, given {params.get(name)!r}")
    try:
        return section.model_validate(params[name])
    except ValidationError as error:
        faults = "; ".join(f"{name}{_fault(section, dict(fault))}" for fault in error.errors(include_url=False))
        raise ConfigError(f"{where}: {faults}") from error


def read(path: Path = PARAMS) -> dict[str, Any]:
    """All sections of ``path`` as they stand there, unchecked.

    Raises:
        ConfigError: the file is absent or no mapping.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run from the folder that holds {path.name}")
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, where: str) -> dict[str, Any]:
    """All sections that the ``content`` of a file of settings holds, unchecked.

    Raises:
        ConfigError: it is no mapping.
    """
    try:
        params = yaml.load(content.decode("utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: is no YAML: {error}") from error
    if not isinstance(params, dict):
        raise ConfigError(f"{where}: a mapping of sections is expected, given {type(params).__name__}")
    return cast(dict[str, Any], params)


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 and DVC do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _fault(section: type[Section], fault: dict[str, Any]) -> str:
    where = "".join(f".{part}" for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _fields(section, fault["loc"][:-1])
        return f"{where}: unknown key{near_miss(str(fault['loc'][-1]), known)}; known: {', '.join(known)}"
    message = fault["msg"].removeprefix("Value error, ")
    if not where:
        return f".{message}"  # of a validator that looks at the whole section, and names the key itself
    given = f", given {fault['input']!r}" if fault["type"] != "missing" else ""
    return f"{where}: {message}{given}"


def _fields(section: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        annotation = section.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)
