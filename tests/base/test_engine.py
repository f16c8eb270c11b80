"""Where partitions are worked on: in this process unless somebody says otherwise, and what is refused."""

import sys

import pytest

from pipeline.base import engine
from pipeline.base.errors import ConfigError, EngineError


def test_this_process_works_in_order_and_gives_what_is_shared_to_the_last_step():
    assert list(engine.mapped(str, range(9))) == [str(part) for part in range(9)]
    assert list(engine.mapped(lambda part, more: part + more, range(9), shared=(5,))) == [*range(5, 14)]
    assert list(engine.mapped(str, range(3), lambda text, more: text + more, ("!",))) == ["0!", "1!", "2!"]


def test_the_second_step_sees_what_became_of_the_results_before():
    taken = []
    for result in engine.mapped(str, range(9), lambda text: (text, len(taken))):
        taken.append(result)
    assert taken == [(str(number), number) for number in range(9)]


def test_a_cluster_without_dask_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install --editable '\.\[dask\]'"), engine.using("dask"):
        pass


def test_an_engine_that_nobody_asks_costs_nothing():
    with engine.using("dask", "tcp://127.0.0.1:1"):
        pass


@pytest.mark.parametrize("given", [{"ca": "a.pem"}, {"certificate": "a.pem", "key": "b.pem", "ca": ""}])
def test_tls_needs_all_its_files(given):
    with pytest.raises(ConfigError, match="needs ca, certificate and key"), engine.using("dask", tls=given):
        pass


def test_a_file_of_tls_that_is_absent_is_named():
    files = {"ca": "gone.pem", "certificate": "gone.pem", "key": "gone.pem"}
    with (
        engine.using("dask", "tls://127.0.0.1:1", tls=files),
        pytest.raises(ConfigError, match=r"engine\.tls\.ca: gone"),
    ):
        list(engine.mapped(str, range(2)))


def test_an_address_of_tls_needs_files():
    refused = pytest.raises(ConfigError, match=r"tls://127.0.0.1:1, which needs the files of engine\.tls")
    with engine.using("dask", "tls://127.0.0.1:1"), refused:
        list(engine.mapped(str, range(2)))


def test_a_scheduler_that_is_not_there_is_named_and_so_is_what_to_do(monkeypatch):
    from pipeline.base import dask_engine

    monkeypatch.setattr(dask_engine, "CONNECT", 0.5)
    with engine.using("dask", "tcp://127.0.0.1:1"):
        for _ in range(2):  # the second time at once
            with pytest.raises(EngineError, match=r"tcp://127.0.0.1:1 does not answer .*engine\.use to local"):
                list(engine.mapped(str, range(2)))
