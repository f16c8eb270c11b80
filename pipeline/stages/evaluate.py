"""Test scores and labels -> metrics, curves and tables. The only stage that reads the test splits' labels."""

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.base.errors import ConfigError, near_miss
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.groups import check_columns
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import GROUPABLE
from pipeline.evaluation import deployed
from pipeline.evaluation.deployed import SECTIONS
from pipeline.preprocessing.features import Features
from pipeline.settings.evaluate import Evaluate
from pipeline.stages import frame, without_attacks
from pipeline.stages.baseline import with_baseline
from pipeline.stages.doubted import doubted_of_benign
from pipeline.stages.record_groups import groups_of, groups_of_benign
from pipeline.stages.reports import latent_map
from pipeline.stages.reports.evaluate import write_reports
from pipeline.stages.reports.report import Report


def evaluate(settings: Evaluate, report: Report) -> None:
    """Judge both test splits with the calibrated decision."""
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    _check(settings, calibration)
    tests = {name: read_samples(paths.SCORES, split) for name, split in SECTIONS.items()}
    for name, samples in tests.items():
        report.reads(SECTIONS[name], samples)
    predictions = {
        name: Prediction.of(calibration, *samples.x.T, groups=groups_of(calibration.group, samples.record_id))
        for name, samples in tests.items()
    }
    asked = deployed.asked_of(calibration, settings, predictions.values())
    found = with_baseline({name: deployed.section(tests[name], predictions[name], asked) for name in tests})
    groups = groups_of_benign([*settings.groups, calibration.group], tests.values())
    doubted = doubted_of_benign(tests.values())
    stated = deployed.guarantee(calibration, tests, predictions, found, groups, doubted, asked)
    beside = without_attacks.measured(tests, predictions, asked, settings.drills)
    source = read_json(paths.SOURCE)
    about = {"dataset": source["dataset"], "synthetic": source["synthetic"], "fusion": calibration.fusion}
    whole = {**about, **found, "guarantee": stated, **beside}
    write_json(paths.METRICS, whole)
    write_reports(settings, whole, calibration, tests, predictions, report)


def _check(settings: Evaluate, calibration: Calibration) -> None:
    if settings.threshold not in calibration.thresholds:
        known = list(calibration.thresholds)
        miss = near_miss(settings.threshold, known)
        raise ConfigError(f"evaluate.threshold: {settings.threshold!r} is not known{miss}; known: {', '.join(known)}")
    latent_map.require(settings)
    reads = Features.load(*read_model(paths.FEATURES)).reads
    check_columns("evaluate.groups", [name for name in settings.groups if name not in GROUPABLE], reads)


if __name__ == "__main__":
    frame.launch("evaluate", Evaluate, evaluate)
