"""The process that reads files of others: it gets a request, sends what it reads, and waits for the next one.

It first gives up what it does not need, see ``sandbox``. Its standard input has the requests, its standard output the
answers; both are pipes of the process that started it, and it ends with that.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.base.errors import FlowsculptError
from pipeline.datasets.apart import sandbox


def main(memory: int) -> None:
    """Read files until there is no request any more."""
    for number in (signal.SIGTERM, signal.SIGINT):  # of a service that is stopped and still judges what has come
        signal.signal(number, signal.SIG_IGN)
    network = sandbox.without_network()
    import pyarrow as pa

    from pipeline.datasets.apart import wire

    answers = os.fdopen(os.dup(1), "wb", 1 << 20)
    os.dup2(2, 1)  # what a library prints is no answer
    pa.set_memory_pool(pa.system_memory_pool())
    _warmed()
    sandbox.hooked()
    filtered = sandbox.filtered()
    sandbox.bounded(memory)
    wire.send(answers, {"network": network, "filtered": filtered})
    while True:
        try:
            request, _ = wire.receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            _read(request, answers)
        except Exception as error:
            wire.send(answers, told(error))


def _warmed() -> None:
    """Import what each reading needs before files can no longer be written: Python keeps what it compiles.

    What few files need is imported when one does, and nothing of it is kept.
    """
    for name in ("pipeline.datasets.apart.reader", "pyarrow.csv", "pyarrow.json", "pyarrow.parquet"):
        import_module(name)
    sys.dont_write_bytecode = True


def _read(request: dict[str, Any], answers: BinaryIO) -> None:
    from pipeline.base.limits import Limits, holding
    from pipeline.datasets.apart import wire
    from pipeline.datasets.apart.reader import Asked
    from pipeline.datasets.reading import Reading
    from pipeline.datasets.schema import Column

    sandbox.within(request["seconds"])
    with holding(Limits(**request["limits"])):
        needed = tuple(Column(**each | {"headers": tuple(each["headers"])}) for each in request["needed"])
        reading = None if request["reading"] is None else Reading.of(**request["reading"])
        given = (needed, request["extraction"], reading, request["labels"], request["also"])
        for chunk in Asked(Path(request["path"]), request["dataset"], *given).read():
            wire.send_chunk(answers, chunk)
    wire.send(answers, {"end": True})


def told(error: BaseException) -> dict[str, Any]:
    """An error, and the number of what the system refused beneath it, None for none."""
    from pipeline.datasets.unpacking import BROKEN

    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    number = next((each.errno for each in causes if isinstance(each, OSError)), None)
    memory = any(isinstance(each, MemoryError) for each in causes)
    known = isinstance(error, (*BROKEN, FlowsculptError))
    return {"error": type(error).__name__, "message": str(error), "errno": number, "memory": memory, "known": known}
