"""compose.yaml: what it says, what of it is run on one machine, and that both are the same commands."""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from deploy import composition, objects, parts, secrets
from deploy.stack import Stack
from flows.runtime import channels, secret_files
from pipeline.base.errors import FlowsculptError

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
OTHERS = {"proxy", "store"}  # others stand in their places
PORTS = {name: 20_000 + number for number, name in enumerate(composition.PORTS)}


@pytest.fixture
def services(tmp_path):
    found = composition.read(composition.Folders(tmp_path), PORTS)
    return {each.name: each for each in found}


def test_each_service_comes_behind_those_that_it_needs(services):
    order = list(services)
    assert set(order) == set(FILE["services"])
    for name, each in services.items():
        assert all(order.index(other) < order.index(name) for other in each.needs)


def test_a_command_is_that_of_the_file_but_for_addresses_and_folders(services, tmp_path):
    own = {name: told for name, told in FILE["services"].items() if name not in OTHERS}
    for name, told in own.items():
        for before, after in zip(told["command"], services[name].command, strict=True):
            kept = after.replace(str(tmp_path), "").replace("127.0.0.1", "")
            for port in PORTS.values():
                kept = kept.replace(str(port), "")
            left = re.sub(r"[a-z]+:\d+|\d{4}|0\.0\.0\.0|127\.0\.0\.1|/srv/[a-z0-9.-]+|/run/secrets|443", "", before)
            for word in re.findall(r"[a-z_-]{3,}", left):
                assert word in kept, (name, before, after)


def test_nothing_of_a_container_is_left(services, tmp_path):
    inside = re.compile(r"\b(postgres|mlflow|prefect|store|triage):\d|/srv/|(?<!STACK)/app\b|0\.0\.0\.0")
    for each in services.values():
        if each.name not in OTHERS:
            for word in (*each.command, *each.env.values(), *each.health, str(each.root)):
                assert not inside.search(word.replace(str(tmp_path), "STACK")), word
    assert (
        services["mlflow"].env["MLFLOW_BACKEND_STORE_URI"]
        == f"postgresql://mlflow@127.0.0.1:{PORTS['postgres']}/mlflow"
    )
    assert f"--port={PORTS['mlflow']}" in services["mlflow"].command
    assert f"mlflow.example:{PORTS['proxy']}" in " ".join(services["mlflow"].command)
    assert services["worker-2"].root == tmp_path / "volumes" / "worker-2"
    assert services["worker-2"].env["FLOWSCULPT_ROOT"] == str(tmp_path / "volumes" / "worker-2")


def test_workers_serve_both_pools_by_our_command_each_in_a_clone_of_its_own(services):
    workers = {name: each for name, each in services.items() if "flows.worker" in each.command}
    pools = {word for each in workers.values() for word in each.command if word.startswith("--pool=")}
    assert pools == {"--pool=cpu", "--pool=gpu"}
    assert len(workers) == 3
    assert len({each.root for each in workers.values()}) == 3
    assert {each.env["FLOWSCULPT_HOST"] for each in workers.values()} == set(workers)


def test_no_service_is_given_a_secret_as_a_value_and_each_gets_the_files_that_it_reads():
    for name, told in FILE["services"].items():
        for variable, value in told.get("environment", {}).items():
            assert variable not in secret_files.SECRETS, name
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), name
        text = yaml.safe_dump([told.get("environment", {}), told["command"]])
        read = set(re.findall(r"/run/secrets/([\w.-]+)", text))
        assert read <= set(told.get("secrets", [])), name
        assert set(told.get("secrets", [])) <= set(FILE["secrets"])


def test_a_file_of_secrets_is_given_to_services_of_one_user_alone():
    users = {}
    for told in FILE["services"].values():
        for name in told.get("secrets", []):
            users.setdefault(name, set()).add(told.get("user", told["image"]))
    assert all(len(each) == 1 for each in users.values()), users
    (read,) = re.findall(r"/run/secrets/(\w+)", (ROOT / "deploy" / "postgres" / "roles.sh").read_text())
    assert read in FILE["services"]["postgres"]["secrets"]


def test_the_roles_have_the_passwords_that_the_services_log_in_with(tmp_path):
    secrets.make(tmp_path / "secrets")
    assert (tmp_path / "secrets" / "roles").read_text() == (tmp_path / "secrets" / "pgpass").read_text()


def test_each_channel_of_notifications_has_a_file_for_its_secret(services, tmp_path):
    secrets.make(tmp_path / "run" / "secrets")
    env = services["deployments"].env
    assert set(secrets.CHANNELS) == set(channels.BLOCKS)
    for channel in channels.BLOCKS:
        path = Path(env[channels.variable(channel) + secret_files.FILE])
        assert channels.variable(channel) not in secret_files.read(env)
        path.write_text("https://sink.example/hush\n")
        assert secret_files.read(env)[channels.variable(channel)] == "https://sink.example/hush"


def test_notifications_link_to_the_page_behind_the_proxy(services):
    for name in ("prefect", "deployments", "worker-1", "worker-2", "worker-3", "watch", "triage"):
        assert services[name].env["PREFECT_UI_URL"] == f"https://prefect.example:{PORTS['proxy']}", name


def test_each_secret_of_the_file_is_made_once_for_its_owner_alone(tmp_path):
    folder = tmp_path / "secrets"
    made = secrets.make(folder, ["a.example", "b.example"])
    assert set(made) == {Path(each["file"]).name for each in FILE["secrets"].values()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("[!.]*")} == {0o600}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert secrets.make(folder) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    certificate = x509.load_pem_x509_certificate(before["tls.pem"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example", "b.example"]
    assert before["mlflow"].strip() in before["mlflow-auth.ini"]
    assert len(before["pgpass"].splitlines()) == 2


def test_git_takes_no_secret_from_whatever_folder_they_are_made_in(tmp_path, capsys):
    _git(tmp_path, "init", "--quiet")
    secrets.make(tmp_path / "anywhere")
    assert _git(tmp_path, "status", "--porcelain", "--untracked-files=all") == ""
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    _git(tmp_path, "check-ignore", "deploy/secrets/signing")
    assert secrets.main([str(tmp_path)]) == 1
    assert "has no line `*`, so git would take secrets" in capsys.readouterr().err
    assert not (tmp_path / "signing").exists()


def test_what_the_processes_are_given_names_this_machine(tmp_path):
    folders = composition.Folders(tmp_path / "stack")
    parts.configure(folders, PORTS, secrets.NAMES)
    auth = (folders.run / "secrets" / "mlflow-auth.ini").read_text()
    assert f"postgresql://mlflow@127.0.0.1:{PORTS['postgres']}/mlflow_people" in auth
    assert (folders.secrets / "mlflow-auth.ini").read_text() != auth
    assert not (folders.run / "secrets" / secrets.IGNORED).exists()
    if parts.shutil.which("nginx") or Path("/usr/sbin/nginx").is_file():
        parts.proxy(folders, PORTS)
        text = (folders.run / "services.conf").read_text()
        assert f"proxy_pass http://127.0.0.1:{PORTS['mlflow']};" in text
        assert "server_name mlflow.example;" in text


def test_the_user_of_postgresql_passes_through_each_folder_that_is_made(tmp_path):
    before = os.umask(0o077)
    try:
        folders = composition.Folders(tmp_path / "build" / "deep" / "stack")
        parts.configure(folders, PORTS, secrets.NAMES)
    finally:
        os.umask(before)
    volumes = folders.volume("postgres").parent
    made = [volumes, *volumes.parents[: len(volumes.relative_to(tmp_path).parts) - 1]]
    assert made[-1] == tmp_path / "build"
    assert {stat.S_IMODE(each.stat().st_mode) for each in made} == {0o711}
    assert stat.S_IMODE(folders.secrets.stat().st_mode) == 0o700


def test_a_cluster_that_cannot_be_made_is_said_with_the_words_of_postgresql(tmp_path, monkeypatch):
    folders = composition.Folders(tmp_path / "stack")
    parts.configure(folders, PORTS, secrets.NAMES)
    tool = tmp_path / "initdb"
    tool.write_text("#!/bin/sh\necho cannot reach it >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setattr(parts, "program", lambda *_: str(tool))
    monkeypatch.setattr(parts, "_as_user", list)
    with pytest.raises(FlowsculptError, match=r"initdb ended with code 1:.*cannot reach it"):
        parts.make_cluster(folders)


def test_a_program_that_is_not_installed_is_named_with_its_package():
    with pytest.raises(parts.ConfigError, match=r"pg_nothing is not installed; .* apt-get install postgresql"):
        parts.program("pg_nothing", "postgresql")


def test_the_line_that_makes_a_backup_is_printed(tmp_path):
    stack = Stack(tmp_path, 8443)
    parts.configure(stack.folders, stack.ports, secrets.NAMES)
    (line,) = [each for each in stack.words() if "python -m deploy.backup" in each]
    pairs = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
    assert pairs["PGPORT"] == str(stack.ports["postgres"])
    assert Path(pairs["PGPASSFILE"]).read_text().endswith((stack.folders.secrets / "postgres").read_text())
    objects.require(pairs)


def test_two_stacks_in_one_folder_are_refused(tmp_path, monkeypatch):
    stack = Stack(tmp_path, 8443)
    stack.refuse_second()
    monkeypatch.setattr(stack, "processes", lambda: [1])
    with pytest.raises(parts.ConfigError, match="a stack runs in this folder already"):
        stack.refuse_second()


# Clones.


def _git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").touch()
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "start")
    return folder


def test_each_service_with_a_clone_reaches_the_repository_that_it_was_made_of():
    origin = FILE["services"]["clones"]["command"][2]
    for name, told in FILE["services"].items():
        mounts = [str(each).rsplit("}:")[-1].split(":") for each in told.get("volumes", ())]
        rights = {mount[0]: mount[1:] for mount in mounts}
        if any(mount[-1] == "/srv/clone" for mount in mounts):
            assert rights[origin] == ([] if name == "triage" else ["ro"]), name  # marks are pushed from there


def test_git_reads_the_repository_of_another_user(source, tmp_path):
    words = ["sh", str(ROOT / "deploy" / "clone.sh"), str(source), "s3://dvc", str(tmp_path / "a")]
    config = (ROOT / "deploy" / "gitconfig").read_text()
    assert FILE["services"]["clones"]["command"][2] in config
    (tmp_path / "gitconfig").write_text(config.replace(FILE["services"]["clones"]["command"][2], f"{source}/.git"))
    env = os.environ | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": str(tmp_path / "absent")}
    refused = subprocess.run(words, env=env, check=False, capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    subprocess.run(words, env=env | {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}, check=True)
    assert (tmp_path / "a" / ".dvc").is_dir()
    for told in FILE["services"].values():
        if told.get("user"):
            assert told["environment"]["GIT_CONFIG_GLOBAL"] == "/app/deploy/gitconfig"


def test_clones_are_made_where_they_are_absent_and_left_alone_else(source, tmp_path):
    words = ["sh", str(ROOT / "deploy" / "clone.sh"), str(source), "s3://dvc", *(str(tmp_path / x) for x in "ab")]
    for _ in range(2):
        subprocess.run(words, check=True, cwd=tmp_path)
        for name in "ab":
            assert "url = s3://dvc" in (tmp_path / name / ".dvc" / "config.local").read_text()
            assert (tmp_path / name / "data" / "incoming").is_dir()
            (tmp_path / name / "own").touch()
    assert _git(tmp_path / "a", "status", "--porcelain", "own").strip() == "?? own"


def test_the_store_of_the_file_runs_where_its_program_is_and_listens_to_this_machine_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert parts.store(["server"], 1, tmp_path / "objects")[0] == "moto_server"
    program = tmp_path / "weed"
    program.touch(0o755)
    command = parts.store(["server", "-s3", f"-dir={tmp_path / 'objects'}"], 1, tmp_path / "objects")
    assert command[:3] == ["weed", "server", "-s3"] and (tmp_path / "objects").is_dir()
    assert "-ip.bind=127.0.0.1" in command
    listening = [word.partition("=")[2] for word in command if ".port" in word]
    assert len({*listening}) == len(listening) == 7
