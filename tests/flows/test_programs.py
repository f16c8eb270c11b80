"""A flow as a program: a TERM ends it as it should, and nothing of that is left behind."""

import os
import signal

import pytest

from flows.runtime import program
from pipeline.base.errors import ConfigError


def _told(number):
    os.kill(os.getpid(), number)
    signal.pause()  # the handler runs before this returns
    pytest.fail("went on")


def test_a_term_ends_the_program_and_lets_go_of_what_it_holds():
    held = []

    def body():
        held.append("taken")
        try:
            _told(signal.SIGTERM)
        finally:
            held.append("let go")

    with pytest.raises(SystemExit) as ended:
        program.run("test", body)
    assert (ended.value.code, held) == (143, ["taken", "let go"])


def _fails():
    raise ConfigError("no stages")


@pytest.mark.parametrize("body", [lambda: "done", _fails], ids=["done", "failed"])
@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None], ids=["ignored", "default", "own"])
def test_a_signal_means_again_what_it_meant_before(body, before):
    outer = signal.signal(signal.SIGTERM, before)
    try:
        program.run("test", body)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, outer)


@pytest.fixture
def interruptible():
    """An interrupt raises KeyboardInterrupt, in a shell's background job too, which starts with it ignored."""
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, outer)


@pytest.mark.usefixtures("interruptible")
def test_what_heeds_a_signal_calls_the_action_once_for_each():
    heard = []
    with program.heeding(lambda: heard.append("heard"), [signal.SIGTERM, signal.SIGINT]):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert heard == ["heard"] * 2
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
