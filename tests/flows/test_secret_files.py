"""Secrets that lie in files, for a command that reads them from variables."""

import os
import subprocess
import sys

import pytest

from flows.runtime import channels, healthy, secret_files
from pipeline.base.errors import ConfigError


def test_a_file_becomes_the_value_of_its_variable(tmp_path):
    (tmp_path / "a").write_text("hush\n")
    given = {"MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "a"), "SSL_CERT_FILE": "/etc/ca.pem"}
    assert secret_files.read(given) == {"MLFLOW_TRACKING_PASSWORD": "hush"}


@pytest.mark.parametrize(
    ("content", "also", "said"),
    [
        (None, {}, r"PREFECT_API_KEY_FILE: .*: cannot be read"),
        ("\n", {}, r"PREFECT_API_KEY_FILE: .*: is empty"),
        ("hush", {"PREFECT_API_KEY": "x"}, r"PREFECT_API_KEY and PREFECT_API_KEY_FILE are both set; unset one"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, content, also, said):
    if content is not None:
        (tmp_path / "a").write_text(content)
    with pytest.raises(ConfigError, match=said):
        secret_files.read({"PREFECT_API_KEY_FILE": str(tmp_path / "a")} | also)


@pytest.mark.parametrize("channel", channels.BLOCKS)
def test_the_secret_of_a_channel_may_be_a_file_that_is_still_empty(tmp_path, channel):
    name, path = channels.variable(channel), tmp_path / "a"
    path.write_text("\n")
    assert secret_files.read({f"{name}_FILE": str(path)}) == {}
    path.write_text("https://sink.example/hush\n")
    assert secret_files.read({f"{name}_FILE": str(path)}) == {name: "https://sink.example/hush"}


def _called(tmp_path, *words):
    (tmp_path / "a").write_text("hush")
    env = os.environ | {"FLOWSCULPT_TRIAGE_SECRET_FILE": str(tmp_path / "a")}
    env.pop("FLOWSCULPT_TRIAGE_SECRET", None)
    command = [sys.executable, "-m", "flows.runtime.secret_files", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_the_command_takes_the_place_of_the_process(tmp_path):
    code = "import os, sys; print(os.environ['FLOWSCULPT_TRIAGE_SECRET']); sys.exit(7)"
    done = _called(tmp_path, sys.executable, "-c", code)
    assert (done.stdout, done.returncode) == ("hush\n", 7)


def test_a_command_that_is_not_there_is_named(tmp_path):
    done = _called(tmp_path, "no-such-command")
    assert (done.returncode, done.stderr) == (127, "secret_files: no-such-command: No such file or directory\n")
    assert _called(tmp_path).returncode == 2


def test_a_server_that_does_not_answer_is_not_healthy(capsys):
    assert healthy.main(["http://127.0.0.1:1/health"]) == 1
    assert healthy.main([]) == 2
    assert "usage" in capsys.readouterr().err
