"""The secret of the servers, what each side is given of it, and the door before Prefect."""

import asyncio
import shlex
import stat
import subprocess

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.runtime import access, api, servers
from pipeline.base.errors import ConfigError

FOREIGN = (access.PREFECT_SERVER, access.PREFECT_CLIENT, access.MLFLOW_SERVER, access.MLFLOW_KEY)
LOGIN = "who:knows"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home of Prefect, and an environment that configures nothing."""
    for name in (*FOREIGN, *access.MLFLOW_ADMIN, *access.MLFLOW_CLIENT, "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    with temporary_settings({PREFECT_HOME: tmp_path / "home", PREFECT_API_URL: None, PREFECT_API_AUTH_STRING: None}):
        yield tmp_path / "home"


def _rights(path):
    return stat.S_IMODE(path.stat().st_mode)


# The secret.


def test_the_secret_is_made_once_for_its_owner_alone(home):
    login = access.kept_login()
    user, secret = login.split(":")
    assert user == access.USER
    assert len(secret) >= 32
    assert (_rights(home), _rights(home / access.SECRET_FILE)) == (0o700, 0o600)
    assert access.kept_login() == login
    (home / access.SECRET_FILE).unlink()
    assert access.kept_login() != login


def test_two_that_start_at_once_make_one_secret(home, monkeypatch):
    made, others = access.fresh_login, []

    def late():
        monkeypatch.setattr(access, "fresh_login", made)
        others.append(access.kept_login())
        return made()

    monkeypatch.setattr(access, "fresh_login", late)
    login = access.kept_login()
    assert [login] == others
    assert [path.name for path in home.iterdir()] == [access.SECRET_FILE]


def test_a_home_that_others_could_read_is_closed(home):
    home.mkdir(mode=0o755)
    access.kept_login()
    assert _rights(home) == 0o700


def test_a_secret_that_others_can_read_is_refused_with_what_to_do(home):
    access.kept_login()
    (home / access.SECRET_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match=r"secret: other users can read .*; delete the file, .*chmod 600"):
        access.kept_login()


@pytest.mark.parametrize("text", ["", "flowsculpt", "flowsculpt:", ":secret"])
def test_a_secret_file_without_a_login_is_refused(text, home):
    access.kept_login()
    (home / access.SECRET_FILE).write_text(text)
    with pytest.raises(ConfigError, match="needs one line, user:secret"):
        access.kept_login()


# What each side is given.


def test_server_and_clients_are_given_the_same_login(home):
    assert set(access.prefect_settings(LOGIN).values()) == {LOGIN}
    server, client = access.mlflow_server_settings(LOGIN), access.mlflow_client_settings(LOGIN)
    assert [server[name] for name in access.MLFLOW_ADMIN] == [client[name] for name in access.MLFLOW_CLIENT]
    assert [client[name] for name in access.MLFLOW_CLIENT] == ["who", "knows"]


def test_the_settings_of_mlflow_hold_no_secret_and_another_secret_gets_other_users(home):
    path = home / "mlflow-auth.ini"
    first = access.mlflow_server_settings(LOGIN)
    assert first[access.MLFLOW_SERVER] == str(path)
    assert "knows" not in path.read_text()
    assert "NO_PERMISSIONS" in path.read_text()
    text = path.read_text()
    assert access.mlflow_server_settings(LOGIN)[access.MLFLOW_KEY] == first[access.MLFLOW_KEY]
    assert path.read_text() == text
    assert access.mlflow_server_settings("who:else")[access.MLFLOW_KEY] != first[access.MLFLOW_KEY]
    assert path.read_text() != text


def test_authentication_that_is_configured_is_kept(home, tmp_path, monkeypatch):
    own = tmp_path / "own.ini"
    own.write_text("[mlflow]\nadmin_username = boss\nadmin_password = own secret\n")
    monkeypatch.setenv(access.PREFECT_SERVER, "boss:own")
    monkeypatch.setenv(access.MLFLOW_SERVER, str(own))
    assert set(access.prefect_settings(LOGIN).values()) == {"boss:own"}
    assert set(access.mlflow_server_settings(LOGIN)) == {access.MLFLOW_KEY}
    assert list(access.mlflow_client_settings(LOGIN).values()) == ["boss", "own secret"]
    for name, value in zip(access.MLFLOW_CLIENT, ("worker", "its own"), strict=True):
        monkeypatch.setenv(name, value)
    assert list(access.mlflow_client_settings(LOGIN).values()) == ["worker", "its own"]


def test_flows_that_could_not_log_in_are_an_error(home, tmp_path, monkeypatch):
    own = tmp_path / "own.ini"
    monkeypatch.setenv(access.MLFLOW_SERVER, str(own))
    with pytest.raises(ConfigError, match=r"own.ini: there is no such file"):
        access.mlflow_client_settings(LOGIN)
    own.write_text("[mlflow]\nadmin_username = boss\n")
    with pytest.raises(ConfigError, match=r"set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"):
        access.mlflow_client_settings(LOGIN)


# What a shell is given.


def test_a_shell_is_told_while_it_lasts_whatever_the_characters(home):
    given = {"A": "plain", "B": "quote ' dollar $A space"}
    with access.told(given) as path:
        assert _rights(path) == 0o600
        command = f'. {shlex.quote(str(path))}; printf "%s|%s" "$A" "$B"'
        assert subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout == (
            f"{given['A']}|{given['B']}"
        )
        assert access.served() == given
    assert not path.exists()
    assert access.served() == {}


def test_a_project_is_served_once(home):
    given = {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
    with access.told(given) as path:
        with pytest.raises(ConfigError, match=r"runs in this project already, at http://127.0.0.1:1/api; end it first"):
            access.told({"A": "b"}).__enter__()
        assert path.exists() and access.served() == given
    access.refuse_second()


def test_what_a_killed_server_left_behind_is_not_believed(home):
    """Whoever listens at its old address must not be told the secret."""
    home.mkdir()
    with access.told({"A": "b"}) as path:
        text = path.read_text()
    path.write_text(text)
    assert access.served() == {}


def test_a_flow_uses_the_server_that_is_served_here_only_while_it_answers(home, monkeypatch):
    here, elsewhere = "http://127.0.0.1:1/api", "http://127.0.0.1:2/api"
    with access.told({"PREFECT_API_URL": here, access.PREFECT_CLIENT: LOGIN}):
        monkeypatch.setattr(servers, "answers", lambda _: False)
        assert servers.reached() == {}
        monkeypatch.setattr(servers, "answers", lambda _: True)
        assert servers.reached() == {PREFECT_API_URL: here, PREFECT_API_AUTH_STRING: LOGIN}
        monkeypatch.setenv("PREFECT_API_URL", here)
        assert servers.reached() == {PREFECT_API_URL: here, PREFECT_API_AUTH_STRING: LOGIN}
        monkeypatch.setenv("PREFECT_API_URL", elsewhere)
        assert servers.reached() == {PREFECT_API_URL: elsewhere}  # the secret of one server is not told to another
        monkeypatch.setenv(access.PREFECT_CLIENT, "its:own")
        assert servers.reached() == {PREFECT_API_URL: elsewhere, PREFECT_API_AUTH_STRING: "its:own"}


# The door.


def _knock(kind, headers):
    """What a door sends to one request, and whether it let it in."""
    sent, inside = [], []

    async def behind(*_):
        inside.append(kind)

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    asyncio.run(api.Door(behind, (*api.LOCAL_NAMES, "box.example"))(scope, receive, send))
    return sent, inside == [kind]


@pytest.mark.parametrize(
    ("host", "origin", "lets_in"),
    [
        ("127.0.0.1:4200", None, True),
        ("localhost:4200", "http://localhost:4200", True),
        ("[::1]:4200", None, True),
        ("Box.example", "https://box.example", True),
        ("evil.example", None, False),
        ("evil.example:4200", "http://evil.example:4200", False),
        ("127.0.0.1.evil.example", None, False),
        ("", None, False),
        ("127.0.0.1:4200", "http://evil.example", False),
        ("127.0.0.1:4200", "http://127.0.0.1:8888", False),
        ("127.0.0.1:4200", "null", False),
    ],
)
def test_the_door_lets_in_who_names_the_server_and_comes_from_its_own_pages(host, origin, lets_in):
    headers = {"host": host, **({"origin": origin} if origin else {})}
    for kind in ("http", "websocket"):
        sent, inside = _knock(kind, headers)
        assert inside is lets_in
        assert (not sent) is lets_in
        assert lets_in or sent[0].get("status") == 403 or sent == [{**sent[0], "type": "websocket.close"}]


def test_the_start_and_end_of_the_server_pass_the_door():
    assert _knock("lifespan", {}) == ([], True)


@pytest.mark.parametrize(
    ("with_it", "without", "message"),
    [
        (200, 401, ""),
        (200, 403, ""),
        (200, 200, "answers 200 to a request without a login"),
        (401, 401, r"refuses its own login \(401\)"),
        (200, 0, "does not answer"),
        (0, 401, "does not answer"),
    ],
)
def test_a_server_is_used_if_it_lets_its_own_login_in_and_nobody_else(with_it, without, message, monkeypatch):
    monkeypatch.setattr(access.reach, "status", lambda address, login="": with_it if login else without)
    if not message:
        access.require("MLflow server", "http://127.0.0.1:1/x", "who:knows")
    else:
        with pytest.raises(ConfigError, match=message):
            access.require("MLflow server", "http://127.0.0.1:1/x", "who:knows")
