"""Authentication that the environment configures, by the variables that the documentation names, for both servers."""

import pytest

from tests.end_to_end.conftest import SMALL, Project
from tests.end_to_end.served import serving

SETTINGS = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = boss
admin_password = the owners own
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    project, own = Project(tmp_path_factory.mktemp("own")), tmp_path_factory.mktemp("settings")
    project.settings(SMALL)
    (own / "auth.ini").write_text(SETTINGS.format(folder=own))
    given = {"PREFECT_SERVER_API_AUTH_STRING": "boss:and more", "MLFLOW_AUTH_CONFIG_PATH": str(own / "auth.ini")}
    with serving(project.folder, "--no-deploy", **given) as served:
        yield served


def test_both_servers_ask_for_the_login_of_the_environment(served):
    generated = tuple((served.folder / ".prefect" / "secret").read_text().strip().split(":"))
    experiments = f"{served.mlflow}/api/2.0/mlflow/experiments/search?max_results=9"
    logins = {f"{served.api}/admin/version": ("boss", "and more"), experiments: ("boss", "the owners own")}
    for address, login in logins.items():
        assert served.knock(address, login).status_code == 200
        for wrong in (None, ("boss", "guess"), generated):
            assert served.knock(address, wrong).status_code == 401


def test_a_shell_is_given_the_login_of_the_environment(served):
    shell = served.shell
    assert shell["PREFECT_API_AUTH_STRING"] == "boss:and more"
    assert (shell["MLFLOW_TRACKING_USERNAME"], shell["MLFLOW_TRACKING_PASSWORD"]) == ("boss", "the owners own")
    assert "PREFECT_SERVER_API_AUTH_STRING configures" in served.log.read_text()
