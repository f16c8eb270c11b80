"""What answers the browser: the pages, the forms, and who may ask.

Every page but the log-in asks for a session. Every form holds the token of its session. ``Door`` answers to known names
of this machine only, and to no page of others. A page loads its style sheet and its script from here, and nothing else.
"""

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from flows.runtime.api import LOCAL_NAMES, Door
from flows.triage import history, texts, views
from flows.triage.asking import (
    COOKIE,
    Asker,
    LoginNeededError,
    OwnForm,
    RefusedError,
    desk_of,
    form_of,
    here,
    sessions_of,
)
from flows.triage.desk import Desk
from flows.triage.filters import MARKS, STATES, Filter
from flows.triage.forms import Form, one
from flows.triage.grouping import SEVERITIES
from flows.triage.sessions import IDLE, Session, Sessions
from pipeline.base.errors import FlowsculptError
from pipeline.calibration.thresholds.base import VERDICTS
from pipeline.reporting.html import STYLE, page
from pipeline.serving.analyst import LONGEST_NAME, LONGEST_NOTE
from pipeline.serving.counts import counted

PAGES, STATIC = Path(__file__).parent / "pages", Path(__file__).parent / "static"
FILES: Final = {
    "style.css": (STYLE, "text/css"),  # of all pages that the project makes
    "triage.css": (STATIC / "triage.css", "text/css"),
    "triage.js": (STATIC / "triage.js", "text/javascript"),
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def build(desk: Desk, sessions: Sessions, names: Collection[str] = ()) -> Any:
    """The application.

    Args:
        desk: alerts and marks.
        sessions: who may see them.
        names: by which other machines call this one, beside localhost.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk, app.state.sessions = desk, sessions
    app.middleware("http")(_with_headers)
    app.add_exception_handler(LoginNeededError, _to_login)
    app.add_exception_handler(FlowsculptError, _refusal)
    app.add_exception_handler(404, _absent)
    app.get("/healthz")(lambda: PlainTextResponse("ok"))
    app.get("/static/{name}")(_file)
    app.get("/login")(_login)
    app.post("/login")(_log_in)
    app.post("/logout")(_log_out)
    app.get("/")(_queue)
    app.get("/incident/{key}")(_incident)
    app.get("/alert/{key}")(_alert)
    app.get("/marks")(_marks)
    app.get("/model")(_model)
    app.post("/marks")(_mark)
    return Door(app, (*LOCAL_NAMES, *names))


# What every answer has.


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _to_login(request: Request, _: Exception) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = path if request.method == "GET" else "/"
    return RedirectResponse("/login" if wanted == "/" else f"/login?next={quote(wanted)}", 303)


async def _refusal(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 400
    return _shown(request, "refused.html", None, status, title="Not done", message=str(error))


async def _absent(request: Request, _: Exception) -> Response:
    return _shown(request, "refused.html", None, 404, title="Not here", message="There is no such page.")


def _shown(request: Request, template: str, session: Session | None, status: int = 200, **facts: Any) -> Response:
    """A page."""
    about = {
        "moment": texts.moment,
        "span": texts.span,
        "since": texts.since,
        "few": texts.few,
        "raw": texts.raw,
        "counted": counted,
        "share": texts.share,
        "at": request.url.path,
        "session": session,
        "marks": MARKS,
    }
    about["messages"] = session.messages() if session else []
    about["undoable"] = len(session.last) if session else 0
    about["longest"] = {"name": LONGEST_NAME, "note": LONGEST_NOTE}
    query = f"?{request.url.query}" if request.url.query else ""
    return HTMLResponse(page(PAGES / template, **about, back=request.url.path + query, **facts), status)


def _file(name: str) -> Response:
    """The style sheet or the script."""
    if name not in FILES:
        raise RefusedError(404, "there is no such file")
    path, kind = FILES[name]
    return Response(path.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


# Log in and out.


def _login(request: Request, next: str = "/") -> Response:
    return _shown(request, "login.html", None, title="Log in", next=here(next), fault="", name="")


async def _log_in(request: Request) -> Response:
    form, sessions = await form_of(request), sessions_of(request)
    name, next_path = one(form, "name"), here(one(form, "next"))
    fault, status, key = "", 403, None
    guesser = sessions.guesser(request.cookies.get(COOKIE, ""), request.client.host if request.client else "")
    if wait := sessions.wait(guesser):
        fault, status = f"Too many wrong secrets. Wait {wait:.0f} seconds.", 429
    elif not name or len(name) > LONGEST_NAME or not name.isprintable():
        fault, status = f"Give a name of at most {LONGEST_NAME} characters; your marks carry it.", 400
    elif (key := sessions.start(name, one(form, "secret"), guesser)) is None:
        fault = "That is not the secret."
    if key is None:
        facts = {"title": "Log in", "next": next_path, "fault": fault, "name": name[:LONGEST_NAME]}
        return _shown(request, "login.html", None, status, **facts)
    answer = RedirectResponse(next_path, 303)
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    answer.set_cookie(COOKIE, key, max_age=round(IDLE), httponly=True, samesite="strict", secure=secure)
    return answer


def _log_out(request: Request, _: Form = OwnForm) -> Response:
    sessions_of(request).end(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


# Pages.


def _queue(request: Request, session: Session = Asker) -> Response:
    asked, desk = Filter.of(request.query_params), desk_of(request)
    shown, said = desk.now()
    found = views.queue(shown, said, asked, request.query_params.get("page", ""))
    facts: dict[str, Any] = {"asked": asked, "queue": found, "choices": _choices(desk), "attacks": desk.attacks()}
    return _shown(request, "queue.html", session, title="Queue", fault=desk.fault, **facts)


def _choices(desk: Desk) -> dict[str, Any]:
    versions = sorted({*desk.index.now.version.tolist()}, reverse=True)
    return {"severity": SEVERITIES, "verdict": VERDICTS, "mark": MARKS, "state": STATES, "model": versions}


def _incident(request: Request, key: str, session: Session = Asker) -> Response:
    asked, desk = Filter.of(request.query_params), desk_of(request)
    shown, said = desk.now()
    if key not in shown.place_of:
        raise RefusedError(404, "There is no such incident. It may have become a part of another one; see the queue.")
    found = views.case(shown, said, asked, shown.place_of[key], request.query_params.get("page", ""))
    title = found.incident.kind or "Incident"
    return _shown(request, "incident.html", session, title=title, asked=asked, case=found, attacks=desk.attacks())


def _alert(request: Request, key: str, session: Session = Asker) -> Response:
    desk = desk_of(request)
    shown, said = desk.now()
    if key not in shown.row_of:
        raise RefusedError(404, "There is no such alert.")
    found = views.detail(shown, said, shown.row_of[key])
    return _shown(request, "alert.html", session, title="Alert", detail=found, attacks=desk.attacks())


def _marks(request: Request, session: Session = Asker) -> Response:
    desk = desk_of(request)
    found = history.history(*desk.now(), request.query_params.get("page", ""))
    return _shown(request, "marks.html", session, title="Marks", history=found, judged=desk.champion.now())


def _model(request: Request, session: Session = Asker) -> Response:
    desk = desk_of(request)
    return _shown(request, "model.html", session, title="Model", **desk.model())


# Marks.


async def _mark(request: Request, session: Session = Asker, form: Form = OwnForm) -> Response:
    """Write what was said; the answer comes when it is on the disk."""
    desk = desk_of(request)
    try:
        tone, sentence = await run_in_threadpool(desk.mark, session, form)
    except FlowsculptError as error:
        tone, sentence = "bad", str(error)
    session.said.append((tone, sentence))
    return RedirectResponse(here(one(form, "back")), 303)
