"""A project without anything but a name."""

import pytest

from pipeline import tracking


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "FLOWSCULPT_TRACKING_ROOT", "FLOWSCULPT_SIGNING_KEY", tracking.PARENT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
