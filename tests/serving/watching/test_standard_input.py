"""Standard input: nothing is dropped, the writer waits, and each part has its header."""

import os
import threading
import time

import pytest

from pipeline.serving.watching.standard_input import StandardInput


@pytest.fixture
def pipe():
    """A way to make a stream, and the end that is written to."""
    reads, writes = os.pipe()
    made = []

    def stream(*given):
        made.append(StandardInput(reads, "stdin-1", *given))
        return made[-1]

    with os.fdopen(writes, "wb", buffering=0) as file:
        yield stream, file
    made[0].close()
    os.close(reads)


def all_of(stream, most=4):
    found = []
    while not stream.is_over:
        batch = stream.read(most)
        found += [batch] if batch else []
        time.sleep(0 if batch else 0.01)
    return found


def test_all_lines_come_below_their_header(pipe):
    make, file = pipe
    stream = make(100)
    file.write(b"name,other\n" + b"".join(b"%d,x\n" % n for n in range(10)) + b"10,x")
    file.close()
    parts = all_of(stream)
    assert all(part.content.startswith(b"name,other\n") for part in parts)
    lines = [line for part in parts for line in part.content.splitlines()[1:]]
    assert lines == [b"%d,x" % n for n in range(11)]
    assert sum(part.lines for part in parts) == 11
    assert [part.name for part in parts] == sorted({part.name for part in parts})


def test_who_writes_waits_until_what_waits_is_judged(pipe):
    make, file = pipe
    stream, n = make(1_000), 200_000
    line = b'{"a": "' + b"x" * 40 + b'"}\n'
    done = threading.Event()

    def write():
        for _ in range(n // 1_000):
            file.write(line * 1_000)
        file.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.5)
    assert not done.is_set()
    assert stream.behind < 1_000 + (1 << 20) // len(line) + 2  # what waits, and one read
    assert sum(part.lines for part in all_of(stream, 50_000)) == n
    writer.join()


def test_what_was_read_is_given_after_it_was_closed(pipe):
    make, file = pipe
    stream = make(100, ".json")
    file.write(b'{"a": 1}\n{"a": 2}\n{"a"')
    while stream.behind < 2:
        time.sleep(0.01)
    stream.close()
    batch = stream.read(10)
    assert batch.lines == 2 and batch.name.endswith(".json")
    assert stream.read(10) is None


def test_a_header_alone_does_not_end_what_was_read(pipe):
    make, file = pipe
    stream = make(100)
    file.write(b"name\n1\n2\n")
    while stream.behind < 3:
        time.sleep(0.01)
    stream.close()
    assert stream.read(1).content == b"name\n1\n"
    assert stream.read(1).content == b"name\n2\n"
