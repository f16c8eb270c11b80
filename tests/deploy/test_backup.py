"""A copy of databases and buckets is whole, or it does not have its name."""

from pathlib import Path

import pytest

from deploy import backup, objects, parts
from pipeline.base.errors import ConfigError, FlowsculptError


@pytest.fixture
def env(tmp_path, monkeypatch):
    """Variables of a store, and a `pg_dump` that writes a line, or ends with 1 for the database that FAILS names."""
    tool = tmp_path / "pg_dump"
    tool.write_text(
        'for last; do :; done\n[ "$last" != "$FAILS" ] || { echo "no $last" >&2; exit 1; }\n'
        'echo dumped > "${2#--file=}"\n'
    )
    shell = tmp_path / "tool"
    shell.write_text(f'#!/bin/sh\nexec sh "{tool}" "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(parts, "program", lambda *_: str(shell))
    (tmp_path / "keys").touch()
    return {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "keys"),
        "FAILS": "",
    }


def test_a_copy_gets_its_name_when_it_is_whole(env, tmp_path, monkeypatch):
    folder, seen = tmp_path / "monday", []
    monkeypatch.setattr(objects, "fetch", lambda *_: seen.append(folder.exists()) or 3)
    (tmp_path / f"monday{backup.PART}").mkdir()
    (tmp_path / f"monday{backup.PART}" / "of-an-earlier-call").touch()
    assert backup.back_up(folder, env)[-1] == "s3://dvc: 3 objects"
    assert seen == [False, False]
    assert {path.name for path in folder.iterdir()} == {f"{name}.dump" for name in backup.DATABASES}


@pytest.mark.parametrize(
    ("change", "fetch", "error"),
    [
        ({"FAILS": "prefect"}, lambda *_: 0, FlowsculptError),
        ({}, lambda *_: {}["KEY"], KeyError),
        ({"AWS_DEFAULT_REGION": ""}, lambda *_: 0, ConfigError),
    ],
)
def test_what_fails_leaves_nothing_that_looks_like_a_copy(env, tmp_path, monkeypatch, change, fetch, error):
    monkeypatch.setattr(objects, "fetch", fetch)
    before = {*tmp_path.iterdir()}
    with pytest.raises(error):
        backup.back_up(tmp_path / "monday", env | change)
    assert {*tmp_path.iterdir()} == before


def test_a_variable_that_is_not_set_is_named_before_anything_is_copied(env, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "program", lambda *_: pytest.fail("a database was dumped"))
    for name in objects.VARIABLES:
        with pytest.raises(ConfigError, match=f"{name} is not set; the S3 store needs"):
            backup.back_up(tmp_path / "monday", env | {name: ""})
    with pytest.raises(ConfigError, match="no such file"):
        backup.back_up(tmp_path / "monday", env | {"AWS_SHARED_CREDENTIALS_FILE": str(Path("absent"))})
