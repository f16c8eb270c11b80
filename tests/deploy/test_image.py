"""The Dockerfile is understood as it stands, and each line of it can be run without a container engine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy import dockerfile, image
from pipeline.base.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = ("scorer", "server", "worker")


def read(tmp_path, text, **given):
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    return dockerfile.read(path, given)


def test_stages_steps_and_arguments_are_read(tmp_path):
    text = "ARG BASE=debian\n# why\nFROM ${BASE} AS one\nRUN a \\\n    && b\nENV X=1 \\\n    Y='two words'\n"
    text += "FROM one AS two\n"
    one, two = read(tmp_path, text).values()
    assert (one.base, two.base) == ("debian", "one")
    assert [(step.word, step.line) for step in one.steps] == [("RUN", 4), ("ENV", 6)]
    assert dockerfile.words(one.steps[0].rest) == ["/bin/sh", "-c", "a && b"]
    assert dockerfile.words('["a", "b c"]') == ["a", "b c"]
    assert dockerfile.pairs(one.steps[1].rest) == {"X": "1", "Y": "two words"}
    assert read(tmp_path, text, BASE="alpine")["one"].base == "alpine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM a AS b\nVOLUME /x\n", "line 2: VOLUME is not known here"),
        ("FROM a\n", "line 1: FROM IMAGE AS NAME"),
        ("FROM a AS b\nCOPY --chown=1 x /y\n", "line 2: COPY --chown=1 is not known here"),
        ("FROM a AS b\nENV X=${Y:-z}\n", "line 2: of variables"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(text, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize("target", SHIPPED)
def test_a_shipped_image_is_closed_and_carries_no_tool_of_its_build(target):
    stages = dockerfile.read(image.FILE, {})
    order = [stage.name for stage in dockerfile.needed(stages, target)]
    assert order[-1] == target and set(order) == {"python", "tools", f"{target}-made", target}
    last = {step.word: step.rest for step in stages[target].steps}
    assert last["USER"] == "10001:10001"
    assert "flows.runtime.healthy" in last["HEALTHCHECK"]
    assert stages[target].base == "python", "what installs stays behind"
    installs = [step.rest for step in stages[f"{target}-made"].steps if "--requirement" in step.rest]
    assert installs and all("--require-hashes" in rest for rest in installs)


def test_what_is_copied_is_there_and_docker_may_see_it():
    seen = [
        line.removeprefix("!")
        for line in (ROOT / "deploy/Dockerfile.dockerignore").read_text().split()
        if line[0] == "!"
    ]
    copies = [
        step.rest.split()[:-1]
        for stage in dockerfile.read(image.FILE, {}).values()
        for step in stage.steps
        if step.word == "COPY" and not step.rest.startswith("--from=")
    ]
    for source in [source for sources in copies for source in sources]:
        assert (ROOT / source).exists()
        assert any(source == each or source.startswith(f"{each}/") for each in seen)


def test_each_volume_of_the_production_shape_lies_on_a_folder_of_its_user():
    """Docker gives a fresh volume the owner of the folder in the image, and root where there is none."""
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"].values()
    volumes = [
        each for service in services for each in service.get("volumes", []) if str(service.get("user")) == "10001:10001"
    ]
    folders = {each.split(":")[1] for each in volumes if not each.startswith((".", "$"))}
    (made,) = [step.rest for step in dockerfile.read(image.FILE, {})["python"].steps if "mkdir" in step.rest]
    names = made.partition("mkdir ")[2].partition(" &&")[0].split()
    assert folders and folders <= {f"/srv/{name}" for name in names}
    assert made.startswith("cd /srv && mkdir ") and made.endswith("chown 10001:10001 *")


def test_an_unknown_target_is_refused_with_those_that_are_known(tmp_path, capsys):
    assert image.main(["build", "--base", str(tmp_path), "scorerr", str(tmp_path)]) == 1
    assert "'scorerr' is no stage of Dockerfile; those are python, tools, " in capsys.readouterr().err


# In a root of its own.


def can_unshare():
    if os.getuid() or not shutil.which("unshare") or not shutil.which("ldd"):
        return False
    return (
        subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"], capture_output=True
        ).returncode
        == 0
    )


NEEDS_ROOT = pytest.mark.skipif(not can_unshare(), reason="needs Linux, root, and the right to unshare")
PROGRAMS = ("sh", "env", "touch", "id", "cat", "mkdir")


def bring(program, base):
    """Copy a program of this machine, and the libraries that it is linked with, to a root."""
    place = Path(shutil.which(program)).resolve()
    linked = re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", place], text=True))
    for name in linked:
        (base / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, base / name[1:])
    shutil.copy(place, base / "bin" / program)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """An image that is built of a few programs of this machine."""
    base, into, outside = tmp_path / "base", tmp_path / "images", tmp_path / "outside"
    for path in (*(base / name for name in ("bin", "dev", "proc", "tmp", "srv/home", "etc")), into, outside):
        path.mkdir(parents=True)
    for program in PROGRAMS:
        bring(program, base)
    path = tmp_path / "Dockerfile"
    path.write_text(
        "ARG BASE=x\nFROM ${BASE} AS made\nENV PATH=/bin GREETING=hello\nARG TO=you\n"
        'RUN mkdir -p /out && echo "$GREETING $TO" > /out/said && ! touch OUTSIDE/planted\n'
        "FROM made AS last\nCOPY --from=made /out /taken\nWORKDIR /taken\nUSER 10001:10001\n"
        'HEALTHCHECK --interval=1s CMD ["cat", "/taken/said"]\nCMD ["id", "-u"]\n'.replace("OUTSIDE", str(outside))
    )
    monkeypatch.setattr(image, "FILE", path)
    return image.Builder(into, base, {"TO": "me"}, {}, [outside]), outside


@NEEDS_ROOT
def test_each_line_is_run_and_nothing_can_be_written_when_it_is_shipped(small, capfd):
    build, outside = small
    build.build("last")
    root = build.build("last")  # again, from the beginning
    assert not (root / "made").exists() and not (root / "base").exists()
    assert (root / "taken" / "said").read_text() == "hello me\n"
    about = json.loads(Path(f"{root}.image.json").read_text())
    assert (about["user"], about["folder"], about["health"]) == ("10001:10001", "/taken", ["cat", "/taken/said"])
    outside.chmod(0o777)
    capfd.readouterr()
    assert image.main(["run", str(root)]) == 0
    assert image.main(["health", str(root)]) == 0
    assert capfd.readouterr().out == "10001\nhello me\n"
    assert image.main(["run", str(root), "touch", "/taken/x"]) != 0
    assert image.main(["run", "--mount", f"{outside}:/mounted", str(root), "touch", "/tmp/a", "/mounted/b"]) == 0
    assert (outside / "b").exists() and not (root / "tmp" / "a").exists()
