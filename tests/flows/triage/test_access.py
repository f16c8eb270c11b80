"""Nobody but who knows the secret sees an alert, and no other page can mark one."""

import stat

import pytest

from flows.triage import sessions
from flows.triage.app import HEADERS, build
from flows.triage.asking import COOKIE
from flows.triage.sessions import GUESSES, IDLE, WITHIN, Sessions
from pipeline.base.errors import ConfigError
from tests.flows.triage.conftest import SECRET, Page

CLOSED = ("/", "/marks", "/model", "/incident/0", "/alert/0")


@pytest.mark.parametrize("path", CLOSED)
def test_a_page_asks_for_a_log_in_and_leads_on_to_what_was_wanted(app, path):
    page = Page(app)
    answer = page.get(path, follow=False)
    assert answer.status_code == 303
    assert "critical" not in answer.text
    assert answer.headers["location"].startswith("/login")
    assert page.get(path).text.count("<form") == 1


def test_a_mark_without_a_log_in_writes_nothing(app, desk, marked):
    key = desk.index.now.table.column("alert")[0].as_py()
    answer = Page(app).post("/marks", {"what": "benign", "alert": key, "csrf": ""}, follow=False)
    assert answer.status_code == 303
    assert marked() == {}


def test_the_secret_opens_and_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app):
    page = Page(app)
    answer = page.log_in(follow=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert SECRET not in cookie
    assert page.get("/").status_code == 200


def test_after_a_log_out_the_cookie_opens_nothing(page):
    key = page.cookies.get(COOKIE)
    assert page.post("/logout", {"csrf": page.token}).url.path == "/login"
    page.cookies.set(COOKIE, key)
    assert page.get("/").url.path == "/login"


def test_a_log_in_leads_to_pages_of_this_server_only(app):
    for wanted in ("//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\r\nb"):
        answer = Page(app).post("/login", {"name": "ada", "secret": SECRET, "next": wanted}, follow=False)
        assert answer.headers["location"] == "/"
    assert (
        Page(app)
        .post("/login", {"name": "ada", "secret": SECRET, "next": "/marks?page=2"}, follow=False)
        .headers["location"]
        == "/marks?page=2"
    )


def guess(page, times=GUESSES):
    """Give wrong secrets; the status of each answer."""
    return [page.log_in(secret=f"guess {n}").status_code for n in range(times)]


def test_guesses_are_limited_and_open_sessions_go_on(desk):
    now = [0.0]
    app = build(desk, Sessions(SECRET, lambda: now[0]))
    known, guesser = Page(app), Page(app)
    known.log_in()
    assert guess(guesser) == [403] * GUESSES
    late = guesser.log_in()  # the right one is not heard either
    assert late.status_code == 429
    assert "Wait 60 seconds" in late.text
    assert known.get("/").status_code == 200
    assert known.log_in("bob").url.path == "/"  # under another name, say
    now[0] = WITHIN + 1
    assert guesser.log_in().url.path == "/"


@pytest.mark.parametrize("address", ["10.0.0.9", "2001:db8:0:2::1", ""])
def test_guesses_from_one_address_lock_out_no_other_one(app, address):
    guesser = Page(app, address="2001:db8:0:1::1")
    assert guess(guesser, GUESSES + 1) == [403] * GUESSES + [429]
    assert Page(app, address="2001:db8:0:1::2").log_in().status_code == 429  # the guesser has that one too
    assert Page(app, address=address).log_in().url.path == "/"


def test_an_analyst_who_errs_in_an_open_session_locks_out_only_that_browser(app):
    ada, bob = Page(app), Page(app)
    ada.log_in()
    assert guess(ada, GUESSES + 1) == [403] * GUESSES + [429]
    assert bob.log_in().url.path == "/"


def test_many_guessers_are_not_all_remembered(app, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_GUESSERS", 2)
    for number in range(3):
        guess(Page(app, address=f"10.0.0.{number}"))
    assert [Page(app, address=f"10.0.0.{number}").log_in().status_code for number in range(3)] == [200, 429, 429]


def test_an_idle_session_ends(desk):
    now = [0.0]
    page = Page(build(desk, Sessions(SECRET, lambda: now[0])))
    page.log_in()
    now[0] = IDLE - 1
    assert page.get("/marks").url.path == "/marks"
    now[0] += IDLE
    assert page.get("/marks").url.path == "/login"


@pytest.mark.parametrize("name", ["", " ", "a" * 81, "ada\x1b[2J"])
def test_a_name_that_marks_cannot_carry_is_refused(app, name):
    assert Page(app).log_in(name=name).status_code == 400


def test_a_form_without_the_token_of_the_session_is_refused(app, page, desk, marked):
    key = desk.index.now.table.column("alert")[0].as_py()
    other = Page(app)
    other.log_in("eve")
    for token in ("", "x", other.token):
        answer = page.post("/marks", {"what": "benign", "alert": key, "csrf": token})
        assert answer.status_code == 403
        assert "another session" in answer.text
    assert page.post("/logout", {"csrf": other.token}).status_code == 403
    assert marked() == {}


def test_pages_of_others_and_other_names_of_this_machine_are_refused(app, page, marked):
    token = page.token
    for origin in ("http://evil.example", "null", "http://127.0.0.1:8888"):
        answer = page.post("/marks", {"what": "benign", "csrf": token}, headers={"Origin": origin})
        assert answer.status_code == 403
    assert page.get("/", headers={"Origin": "http://127.0.0.1:4300"}).status_code == 200
    for host in ("evil.example", "evil.example:4300", "127.0.0.1.evil.example", ""):
        assert page.get("/", headers={"Host": host}).status_code == 403
    assert marked() == {}


def test_other_machines_call_it_by_the_names_that_were_given(desk):
    app = build(desk, Sessions(SECRET), ["box.example"])
    assert Page(app, "http://box.example:4300").log_in().status_code == 200


def test_every_page_forbids_foreign_and_inline_scripts_and_frames(app, page):
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    for answer in (page.get("/"), page.get("/nothing"), page.get("/static/triage.js"), Page(app).get("/login")):
        assert {name: answer.headers[name] for name in HEADERS if name != "Cache-Control"} == {
            name: text for name, text in HEADERS.items() if name != "Cache-Control"
        }
    for path in ("/", "/marks", "/model"):
        text = page.get(path).text
        assert " style=" not in text and " onclick=" not in text and "<style" not in text
        assert text.count("<script") == text.count('<script src="/static/triage.js" defer></script>') == 1


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/triage.css%00.js",
        "/alert/..%2f..%2f..%2fetc%2fpasswd",
        "/incident/%2e%2e",
        "/docs",
        "/openapi.json",
    ],
)
def test_tricks_with_paths_find_nothing(page, path):
    answer = page.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text and "import" not in answer.text


def test_only_forms_of_a_modest_size_are_read(page):
    assert page.ask("POST", "/marks", json={"what": "benign"}).status_code == 415
    assert page.post("/marks", {"csrf": "x" * 1_100_000}).status_code == 413


def test_the_health_check_needs_no_log_in_and_says_nothing_else(app):
    assert Page(app).get("/healthz").text == "ok"


# The secret.


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(sessions.VARIABLE, raising=False)
    return tmp_path


def test_the_first_start_makes_a_secret_that_only_its_owner_can_read(home):
    made = sessions.secret()
    assert len(made) >= 24
    assert sessions.secret() == made
    assert stat.S_IMODE(sessions.FILE.stat().st_mode) == 0o600
    assert stat.S_IMODE(sessions.FILE.parent.stat().st_mode) == 0o700
    assert [*sessions.FILE.parent.iterdir()] == [sessions.FILE]


def test_a_secret_that_others_can_read_is_refused(home):
    sessions.secret()
    sessions.FILE.chmod(0o640)
    with pytest.raises(ConfigError, match="other users can read the secret"):
        sessions.secret()


def test_the_environment_names_another_secret_and_a_short_one_is_refused(home, monkeypatch):
    monkeypatch.setenv(sessions.VARIABLE, "twelve chars, at least")
    assert sessions.secret() == "twelve chars, at least"
    assert not sessions.FILE.exists()
    monkeypatch.setenv(sessions.VARIABLE, "short")
    with pytest.raises(ConfigError, match="at least 12 characters, given 5"):
        sessions.secret()
