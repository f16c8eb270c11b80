"""The engine changes no byte: two workers give what this process gives, also where one of them is killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
import torch

from pipeline import config
from pipeline.artifacts import paths, tables
from pipeline.artifacts.samples import columns_of_x
from pipeline.base import engine
from pipeline.base.dask_engine import Dask
from pipeline.base.errors import DataError, EngineError, SchemaError
from pipeline.datasets.synthetic.files import write
from pipeline.serving import arrivals, batch
from pipeline.serving.bundle import Bundle
from pipeline.settings.alerts import Alerts
from pipeline.settings.stage1 import Stage1
from pipeline.stages.encoders import built
from pipeline.stages.latents import write_latents

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
TLS = ("ca", "certificate", "key")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers, started by a process that would import other code first, as after MLflow loaded a model."""
    other = tmp_path_factory.mktemp("code")
    (other / "pipeline").mkdir()
    (other / "pipeline" / "__init__.py").write_text("raise ImportError('the code of another version')")
    with closing(Dask(workers=2)) as made:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(other)
            with engine.at_work(made):  # outside of tests, as Dask sets variables while a cluster is there
                list(engine.mapped(str, range(2)))
        yield made


@pytest.fixture
def small_groups(monkeypatch):
    """Tables of several row groups, so that there is something to spread."""
    monkeypatch.setattr(tables, "ROW_GROUP", 150)


def contents(*folders):
    found = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)}


def kill_a_worker(monkeypatch):
    """Kill a worker when the first rows are written."""
    pids, wrote = {*engine.mapped(lambda _: os.getpid(), range(8))}, tables.TableWriter.write

    def write_and_kill(self, table):
        if pids:
            os.kill(pids.pop(), signal.SIGKILL)
            pids.clear()
        wrote(self, table)

    monkeypatch.setattr(tables.TableWriter, "write", write_and_kill)


def test_stages_write_the_same_bytes(cluster, project, small_groups):
    stages = ("ingest", "preprocess")
    project.run(*stages)
    here = contents(paths.DATA / "interim", paths.PROCESSED, paths.REPORTS, paths.FEATURES.parent)
    with engine.at_work(cluster):
        project.run(*stages)
    assert contents(paths.DATA / "interim", paths.PROCESSED, paths.REPORTS, paths.FEATURES.parent) == here


def test_a_lost_workers_partitions_are_computed_again(cluster, project, small_groups, monkeypatch):
    project.run("ingest", "preprocess")
    here = contents(paths.PROCESSED, paths.FEATURES.parent)
    with engine.at_work(cluster):
        kill_a_worker(monkeypatch)
        project.run("preprocess")
    assert contents(paths.PROCESSED, paths.FEATURES.parent) == here


def test_latents_are_the_same(cluster, prepared):
    for name, value in {"encoder": "residual_mlp", "loss": "binary"}.items():
        prepared.set(f"stage1.{name}", value)
    encoder, _ = built(config.load(Stage1), columns_of_x(paths.PROCESSED / "train.parquet"))
    write_latents(encoder.eval(), torch.device("cpu"), pass_features=True)
    here = contents(paths.LATENT)
    with engine.at_work(cluster):
        write_latents(encoder, torch.device("cpu"), pass_features=True)
    assert contents(paths.LATENT) == here


def scored(file, **rules):
    """The tables of a file, and its summary without what changes from run to run."""
    alerts = replace(config.load(Alerts), **rules)
    told = batch.score(arrivals.identify(file, file), Bundle.of_project(), 1, alerts=alerts)
    about = {name: value for name, value in told.items() if name not in ("time", "number")}
    found = contents(paths.SCORED)
    return {name: each for name, each in found.items() if name.endswith(".parquet")}, about


def test_scores_alerts_and_reasons_are_the_same(cluster, prepared, tmp_path, monkeypatch):
    """Also where a worker dies, and where the alerts that may get reasons run out between two partitions."""
    monkeypatch.setattr("pipeline.datasets.sources.BLOCK_BYTES", 20_000)
    write(tmp_path / "new", records=500, seed=3)
    file = next(path for path in (tmp_path / "new").iterdir() if "Wednesday" in path.name)
    here = scored(file, level="p95", explained=9)
    with engine.at_work(cluster):
        kill_a_worker(monkeypatch)
        assert scored(file, level="p95", explained=9) == here
    assert here[1]["alarms"]["p95"]["alarms"] > 20, "some alerts get no reasons"


def test_a_partition_of_one_record(cluster, prepared, tmp_path):
    write(tmp_path / "new", records=500, seed=3)
    lines = next((tmp_path / "new").iterdir()).read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "one.csv").write_text("".join(lines[:2]), "utf-8")
    here = scored(tmp_path / "one.csv")
    with engine.at_work(cluster):
        assert scored(tmp_path / "one.csv") == here
    assert here[1]["records"] == 1


def _without_a_column(rows):
    for row in rows:
        del row[5]


def test_files_with_other_columns_are_refused_with_the_same_words(cluster, project):
    project.edit("Wednesday", _without_a_column)
    here = project.refusal("ingest", SchemaError)
    with engine.at_work(cluster):
        assert project.refusal("ingest", SchemaError) == here


def test_a_row_that_cannot_be_understood_is_refused_with_the_same_words(cluster, project):
    project.edit("Friday-WorkingHours-Morning", lambda rows: rows[40].__setitem__(-1, "no such attack"))
    here = project.refusal("ingest", DataError)
    with engine.at_work(cluster):
        assert project.refusal("ingest", DataError) == here


# Clusters of other processes.


def certificates(folder):
    """Files of TLS: a certificate that signs itself, as the authority and as that of every process."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "flowsculpt")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "c.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "k.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return dict(zip(TLS, (str(folder / name) for name in ("c.pem", "c.pem", "k.pem")), strict=True))


@contextmanager
def processes(folder, files=None, **env):
    """A scheduler and a worker, and the address of the scheduler."""
    told = folder / "scheduler.json"
    options = ["--host", "127.0.0.1", "--scheduler-file", str(told)]
    flags = dict(zip(TLS, ("--tls-ca-file", "--tls-cert", "--tls-key"), strict=True))
    options += [word for name, path in (files or {}).items() for word in (flags[name], path)]
    options += ["--protocol", "tls"] if files else []
    module, here = [sys.executable, "-m", "distributed.cli."], os.environ | env
    commands = {
        "scheduler": [*options, "--port", "0", "--no-dashboard"],
        "worker": [*options, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)],
    }
    with (folder / "log").open("wb") as log:
        started = [
            subprocess.Popen([*module[:2], f"{module[2]}dask_{name}", *more], env=here, stdout=log, stderr=log)
            for name, more in commands.items()
        ]
        try:
            until = time.monotonic() + 60
            while not (told.exists() and told.read_text()) and time.monotonic() < until:
                time.sleep(0.1)
            yield json.loads(told.read_text())["address"], started[0]
        finally:
            for process in started:
                process.kill()
                process.wait()


def test_a_cluster_with_tls_gives_the_same_bytes_and_one_whose_scheduler_goes_away_ends_the_stage(
    project, small_groups, tmp_path, monkeypatch
):
    project.run("ingest", "preprocess")
    here, files = contents(paths.PROCESSED), certificates(tmp_path)
    with processes(tmp_path, files) as (address, scheduler):
        with engine.using("dask", address, tls=files):
            project.run("preprocess")
            assert contents(paths.PROCESSED) == here
        monkeypatch.setattr(tables.TableWriter, "write", lambda *_: scheduler.kill())
        with engine.using("dask", address, tls=files):
            said = project.refusal("preprocess", EngineError)
    assert address.startswith("tls://") and address in said
    assert "went away; nothing was stored: start it again, or set engine.use to local" in said
    assert contents(paths.PROCESSED) == here, "what was there before stays"


def test_a_cluster_with_other_versions_is_refused_and_both_are_named(tmp_path):
    other = tmp_path / "numpy-1.2.3.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.2.3\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    refused = pytest.raises(EngineError, match=r"numpy 1\.2\.3 there, [2-9][.0-9]+ here")
    with processes(tmp_path, PYTHONPATH=path) as (address, _), engine.using("dask", address), refused:
        list(engine.mapped(str, range(2)))


def test_a_cluster_of_this_machine_listens_to_this_machine_alone(cluster):
    with engine.at_work(cluster):
        list(engine.mapped(str, range(2)))
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = {each.laddr.ip for process in mine for each in process.net_connections("inet") if each.status == "LISTEN"}
    assert found == {"127.0.0.1"}
