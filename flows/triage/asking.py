"""Who asks, and what a form says: sessions by their cookie, forms by the token of their session."""

import re
import secrets
from typing import Final
from urllib.parse import parse_qs

from fastapi import Depends, Request

from flows.triage.desk import Desk
from flows.triage.forms import Form, one
from flows.triage.sessions import Session, Sessions
from pipeline.base.errors import FlowsculptError

COOKIE: Final = "flowsculpt_triage"
MOST_BYTES: Final = 1_000_000  # of a form


class RefusedError(FlowsculptError):
    """A request that is not answered as asked, with the status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LoginNeededError(FlowsculptError):
    """Nobody is logged in."""


def session_of(request: Request) -> Session:
    """The session of a request.

    Raises:
        LoginNeededError: it has none.
    """
    found = sessions_of(request).find(request.cookies.get(COOKIE, ""))
    if found is None:
        raise LoginNeededError("log in first")
    return found


def sessions_of(request: Request) -> Sessions:
    """All sessions."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def desk_of(request: Request) -> Desk:
    """Alerts and marks."""
    desk: Desk = request.app.state.desk
    return desk


Asker = Depends(session_of)


async def form_of(request: Request) -> Form:
    """The fields of a form.

    Raises:
        RefusedError: it is too large, or of another kind.
    """
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise RefusedError(415, "a form is sent as application/x-www-form-urlencoded")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise RefusedError(413, f"a form has at most {MOST_BYTES:,} bytes; choose fewer alerts")
    try:
        return parse_qs(content.decode(), keep_blank_values=True, max_num_fields=20_000)
    except ValueError as error:
        raise RefusedError(400, f"the form cannot be read: {error}") from error


async def own_form_of(request: Request, session: Session = Asker) -> Form:
    """The fields of a form of this session.

    Raises:
        RefusedError: another page made it, or an older session.
    """
    form = await form_of(request)
    if not secrets.compare_digest(one(form, "csrf").encode(), session.csrf.encode()):
        raise RefusedError(
            403, "this form is of another session; go back, load the page again, and repeat what you did"
        )
    return form


OwnForm = Depends(own_form_of)


def here(path: str) -> str:
    """A path of this application to go to; the queue for anything else."""
    return path if re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", path) else "/"
