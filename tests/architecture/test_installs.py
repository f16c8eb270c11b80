"""Every way to install takes the versions that were tested together; the newest torch brings gigabytes of CUDA."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.base.extras import BROUGHT_BY

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
IN_EXTRAS = [need for extra in EXTRAS.values() for need in extra if not need.startswith(f"{PROJECT['name']}[")]
NEEDS = [*PROJECT["dependencies"], *IN_EXTRAS]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)


@pytest.mark.parametrize("need", NEEDS)
def test_the_pinned_version_lies_in_the_range_of_the_project(need):
    requirement = Requirement(need)
    pins = {re.sub(r"[._]", "-", name.lower()): version for name, version in PINS.items()}
    assert requirement.specifier.contains(pins[requirement.name.lower()], prereleases=True)
    assert any(clause.operator == ">=" for clause in requirement.specifier), "the oldest that will do"


def test_no_range_of_the_project_is_a_pin():
    assert [need for need in NEEDS if "==" in need] == []


def test_every_command_that_installs_names_the_constraints():
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    texts = {name: (ROOT / name).read_text() for name in listed if Path(name).suffix in ("", ".md", ".yaml", ".py")}
    commands = [
        (name, command)
        for name, text in texts.items()
        if not name.startswith("tests/")
        for command in re.findall(r"\bpip install (?:\\\n|[^\n`])*", text)
    ]
    assert {name for name, _ in commands} >= {".ci/install", "docs/how-to/machines.md"}
    held = ("--constraint", "--require-hashes", "--no-deps /wheel")
    assert [found for found in commands if not any(each in found[1] for each in held)] == []


# What make calls, with a pretended uv and a pretended pip that write down what they were told.

CONFIGURATION = r"""
:env:.find-links='/wheels'
global.cert='/etc/ca.crt'
global.extra-index-url='\nfile:///a/simple\nfile:///b/simple'
global.find-links='/elsewhere'
""".strip()
PRETENDED_UV = """#!/bin/sh
{ echo "uv $*"; env | grep -E '^(UV_|SSL_)' | sort; } >> told
exit "$UV_ENDS_WITH"
"""
PRETENDED_PYTHON = """#!/bin/sh
case "$*" in
    *"config list"*) cat configuration;;
    *version_info*) echo 311;;
    *) { echo "python $*"; env | grep -E '^PIP_(NO_|FIND)' | sort; } >> told;;
esac
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs into a folder with what the script needs; returns what was told, and the finished process."""
    for name in (".ci/install", ".ci/tell_uv", "flows/runtime/heartbeat.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "configuration").write_text(CONFIGURATION)
    for name, text in {"bin/uv": PRETENDED_UV, ".venv/bin/python": PRETENDED_PYTHON, ".venv/bin/pip": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name in [name for name in os.environ if name.startswith(("UV_", "SSL_", "PIP_"))]:
        monkeypatch.delenv(name)
    for name in ("FLOWSCULPT_INSTALLER", "FLOWSCULPT_LOCKED", "FLOWSCULPT_WHEELHOUSE"):
        monkeypatch.delenv(name, raising=False)

    def run(**variables):
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = os.environ | {"PATH": path, "PYTHON": sys.executable, "UV_ENDS_WITH": "0"} | variables
        command = [str(tmp_path / ".ci" / "install"), ".[dev]"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        told = tmp_path / "told"
        return told.read_text().splitlines() if told.exists() else [], done

    return run


def test_uv_installs_where_it_is_and_looks_where_pip_is_told_to_look(install):
    told, done = install()
    assert done.returncode == 0, done.stderr
    assert told[0].endswith("--editable .[dev] --constraint constraints.txt")
    assert "UV_FIND_LINKS=/wheels" in told
    assert "UV_INDEX= file:///a/simple file:///b/simple" in told
    assert "UV_INDEX_STRATEGY=unsafe-best-match" in told
    assert "SSL_CERT_FILE=/etc/ca.crt" in told
    assert not [line for line in told if line.startswith(("python", "UV_DEFAULT_INDEX"))]


@pytest.mark.parametrize(
    "variables", [{"UV_ENDS_WITH": "2"}, {"FLOWSCULPT_INSTALLER": "pip"}], ids=["fails", "unwanted"]
)
def test_pip_installs_where_uv_fails_or_is_not_wanted(install, variables):
    told, done = install(**variables)
    assert done.returncode == 0, done.stderr
    assert told[-1].startswith("python -m pip install")
    assert told[-1].endswith("--editable .[dev] --constraint constraints.txt")
    assert any(line.startswith("uv ") for line in told) is ("UV_ENDS_WITH" in variables)


def test_an_old_python_is_refused_with_the_way_to_name_another(install, tmp_path):
    (tmp_path / "old").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "old").chmod(0o755)
    told, done = install(PYTHON=str(tmp_path / "old"))
    assert (told, done.returncode) == ([], 1)
    assert "is older than Python 3.11; name a newer one, such as make run PYTHON=" in done.stderr


# Installs by hashes.

RUN = ("train", "orchestrate", "validate")
LOCKED = {
    **{f"py3{minor}": (*RUN, "dev") for minor in (11, 12, 13, 14)},
    "image-scorer": (),
    "image-server": ("orchestrate", "server"),
    "image-worker": (*RUN, "server", "s3"),
}
LOCKS = sorted((ROOT / ".ci" / "locks").glob("*.txt"))
BLOCK = re.compile(
    r"^([a-z0-9._-]+)==(\S+)(?: ; [^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.stem in LOCKED], ids=lambda path: path.stem)
def test_a_lock_has_the_hashes_of_the_pinned_versions(lock):
    text = lock.read_text()
    found = {name: version for name, version, _ in BLOCK.findall(text)}
    assert BLOCK.sub("", text) == "", "each line belongs to a library with its hashes"
    assert found.items() <= PINS.items()
    assert "torch" not in found and not [name for name in found if name.startswith("nvidia-cu")]
    asked = [*PROJECT["dependencies"], *(need for name in LOCKED[lock.stem] for need in EXTRAS[name])]
    assert {Requirement(each).name.lower() for each in asked} - {"torch", PROJECT["name"]} <= {*found}


def test_each_python_that_is_tested_and_each_image_has_a_lock():
    assert {lock.stem for lock in LOCKS} == {*LOCKED, "image-sbom"}


def test_an_image_holds_nothing_that_it_does_not_need():
    held = {stem: (ROOT / ".ci" / "locks" / f"{stem}.txt").read_text() for stem in LOCKED}
    heavy = ("prefect", "dvc", "mlflow", "lightning", "great-expectations", "scikit-learn", "matplotlib", "sqlalchemy")
    assert [name for name in heavy if f"\n{name}==" in held["image-scorer"]] == []
    assert [name for name in heavy if f"\n{name}==" not in held["image-worker"]] == []
    assert "\npytest==" not in held["image-worker"]


def test_the_message_for_a_library_that_is_absent_names_the_extra_that_brings_it():
    imported = {"scikit-learn": "sklearn", "cyclonedx-python-lib": "cyclonedx", "nvidia-ml-py": "pynvml"}
    for extra in (*RUN, "dask"):
        for need in map(Requirement, EXTRAS[extra]):
            name = imported.get(need.name, need.name.replace("-", "_"))
            if name != "mlflow":  # its client is always there
                assert BROUGHT_BY[name] in (extra, "all") or name == "sqlalchemy"
    assert EXTRAS["all"] == [f"{PROJECT['name']}[{','.join(RUN)}]"]


@pytest.fixture
def locked(install, tmp_path):
    (tmp_path / ".ci" / "locks").mkdir()
    (tmp_path / ".ci" / "locks" / "py311.txt").touch()
    return install


@pytest.mark.skipif(sys.platform != "linux", reason="locks are for Linux")
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_locked_install_compares_each_hash_and_takes_torch_by_its_version(locked, installer):
    told, done = locked(FLOWSCULPT_LOCKED="1", FLOWSCULPT_INSTALLER=installer)
    assert done.returncode == 0, done.stderr
    begin = "uv pip install --quiet --python .venv/bin/python" if installer == "uv" else "python -m pip install --quiet"
    assert [line for line in told if not line.startswith(("UV_", "SSL_"))] == [
        f"{begin} --no-deps --require-hashes --requirement .ci/locks/py311.txt",
        f"{begin} --constraint constraints.txt torch",
        f"{begin} --no-deps --no-build-isolation --editable .",
    ]


def test_a_locked_install_that_fails_installs_nothing_without_hashes(locked, tmp_path):
    told, done = locked(FLOWSCULPT_LOCKED="1", UV_ENDS_WITH="2")
    assert done.returncode == 2
    assert [line for line in told if line.startswith("python")] == []
    assert len([line for line in told if line.startswith("uv ")]) == 1


def test_without_a_lock_a_locked_install_is_refused(install):
    told, done = install(FLOWSCULPT_LOCKED="1")
    assert (told, done.returncode) == ([], 1)
    assert "there is no .ci/locks/py311.txt for this system; `make lock` writes locks" in done.stderr


# Without a network.


def wheel_of_nothing(folder):
    """A wheel that installs nothing; returns its sha256."""
    path = folder / "nothing_here-1.0-py3-none-any.whl"
    about = "nothing_here-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: nothing-here\nVersion: 1.0\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def filled(tmp_path, digest):
    lock, index, target = tmp_path / "lock.txt", tmp_path / "index", tmp_path / "wheels"
    lock.write_text(f"nothing-here==1.0 --hash=sha256:{digest}\n")
    environ = os.environ | {"PYTHON": sys.executable, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "TORCH": ""}
    command = [ROOT / ".ci" / "wheelhouse", target, lock]
    return target, subprocess.run(command, env=environ, capture_output=True, text=True)


def test_a_wheelhouse_has_what_the_lock_names_and_the_project_and_their_hashes(tmp_path):
    (tmp_path / "index").mkdir()
    target, done = filled(tmp_path, wheel_of_nothing(tmp_path / "index"))
    assert done.returncode == 0, done.stderr
    names = {path.name.partition("-")[0] for path in target.iterdir()}
    assert names == {"nothing_here", "flowsculpt", "SHA256SUMS"}
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=target, check=True)


def test_a_wheelhouse_takes_no_file_of_another_hash(tmp_path):
    (tmp_path / "index").mkdir()
    wheel_of_nothing(tmp_path / "index")
    target, done = filled(tmp_path, "0" * 64)
    assert done.returncode != 0 and not [*target.iterdir()]


@pytest.mark.skipif(sys.platform != "linux", reason="locks are for Linux")
def test_an_install_from_a_wheelhouse_asks_no_index_and_refuses_a_file_that_was_changed(locked, tmp_path):
    house = tmp_path / "house"
    house.mkdir()
    digest = wheel_of_nothing(house)
    (house / "SHA256SUMS").write_text(f"{digest}  nothing_here-1.0-py3-none-any.whl\n")
    told, done = locked(FLOWSCULPT_WHEELHOUSE=str(house))
    assert done.returncode == 0, done.stderr
    first = next(line for line in told if "python" in line)
    assert first.endswith("--require-hashes --requirement .ci/locks/py311.txt")
    assert {line for line in told if line.startswith("PIP_")} == {"PIP_NO_INDEX=1", f"PIP_FIND_LINKS={house}"}
    (tmp_path / "told").unlink()
    (house / "nothing_here-1.0-py3-none-any.whl").write_bytes(b"another")
    told, done = locked(FLOWSCULPT_WHEELHOUSE=str(house))
    assert (told, done.returncode) == ([], 1)


# What is built and asked.


def test_the_wheel_of_a_commit_has_the_same_bytes_under_another_umask_and_clock(tmp_path):
    made = []
    for number, umask in enumerate(("022", "077")):
        target = tmp_path / str(number)
        command = f"umask {umask}; exec .ci/wheel {target}"
        environ = os.environ | {"PYTHON": sys.executable, "SOURCE_DATE_EPOCH": str(10**9 * (number + 1))}
        subprocess.run(["bash", "-c", command], cwd=ROOT, env=environ, check=True, capture_output=True)
        (wheel,) = target.glob("*.whl")
        made.append(wheel.read_bytes())
    assert made[0] == made[1]


def test_without_a_network_an_audit_says_that_nothing_was_checked():
    closed = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    environ = os.environ | closed | {"PYTHON": sys.executable, "no_proxy": "", "NO_PROXY": ""}
    done = subprocess.run([ROOT / ".ci" / "audit"], env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr and "no library was checked" in done.stderr
