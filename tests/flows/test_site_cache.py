"""What DVC unpickles lies where nobody else can write."""

import os
import stat
import subprocess
import sys

import pytest

from flows.runtime import dvc, graph, site_cache, working_copy
from pipeline.base.errors import ConfigError


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A project under DVC, as a fresh clone is."""
    root = tmp_path / "clone"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    monkeypatch.delenv(site_cache.VARIABLE, raising=False)
    (root / "dvc.yaml").write_text("stages:\n  one: {cmd: echo made > made, outs: [made]}\n")
    return root


def _told(root):
    """What DVC itself takes for the folder, by the configuration alone."""
    command = [sys.executable, "-m", "dvc", "config", "core.site_cache_dir"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def test_the_folder_is_private_absolute_and_known_to_dvc(clone):
    folder = site_cache.prepare(clone / ".dvc")
    assert folder == clone / ".dvc" / "site-cache"
    assert folder.is_absolute()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert _told(clone) == str(folder)
    before = (clone / ".dvc" / "config.local").read_text()
    assert site_cache.prepare(clone / ".dvc") == folder
    assert (clone / ".dvc" / "config.local").read_text() == before


def test_a_flow_keeps_dvc_from_the_folder_of_all_users(clone):
    stage = graph.stages(clone)[0]
    seen = []
    assert dvc.reproduce(stage, seen.append, {}, clone) is dvc.Outcome.RAN
    inside = clone / ".dvc" / "site-cache" / "repo"
    assert any(inside.iterdir())
    assert _told(clone) == str(inside.parent)


def test_other_settings_of_the_clone_are_kept(clone):
    (clone / ".dvc" / "config.local").write_text("['remote \"mine\"']\n    url = /somewhere\n")
    folder = site_cache.prepare(clone / ".dvc")
    text = (clone / ".dvc" / "config.local").read_text()
    assert "url = /somewhere" in text
    assert str(folder) in text


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o755])
@pytest.mark.parametrize("how", ["variable", "config", "default"])
def test_a_folder_that_others_can_enter_is_refused_with_what_to_do(mode, how, clone, tmp_path, monkeypatch):
    folder = clone / ".dvc" / "site-cache" if how == "default" else tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    if how == "variable":
        monkeypatch.setenv(site_cache.VARIABLE, str(folder))
    if how == "config":
        (clone / ".dvc" / "config.local").write_text(f"[core]\n    site_cache_dir = {folder}\n")
    for call in (lambda: working_copy.check(clone), lambda: dvc.call(["status"], print, {}, clone)):
        with pytest.raises(ConfigError, match=rf"{folder}: has mode {mode:o}.*delete it.*set DVC_SITE_CACHE_DIR"):
            call()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(clone):
    folder = site_cache.prepare(clone / ".dvc")
    os.chown(folder, 65534, 65534)
    with pytest.raises(ConfigError, match=r"belongs to another user"):
        working_copy.check(clone)


def test_a_relative_path_is_refused(clone, monkeypatch):
    (clone / ".dvc" / "config.local").write_text("[core]\n    site_cache_dir = cache\n")
    with pytest.raises(ConfigError, match=r"core.site_cache_dir = cache: needs an absolute path"):
        site_cache.prepare(clone / ".dvc")
    monkeypatch.setenv(site_cache.VARIABLE, "here")
    with pytest.raises(ConfigError, match=r"DVC_SITE_CACHE_DIR = here: needs an absolute path"):
        site_cache.prepare(clone / ".dvc")


def test_the_program_prepares_the_clone_that_it_is_run_in(clone):
    command = [sys.executable, "-m", "flows.runtime.site_cache"]
    assert subprocess.run(command, cwd=clone, check=False).returncode == 0
    assert _told(clone) == str(clone / ".dvc" / "site-cache")
    (clone / ".dvc" / "site-cache").chmod(0o777)
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith("site_cache: ")) == (1, True)
