"""Several processes of one training: what is refused, and what is left when one of them fails."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import torch

from pipeline.base.errors import ConfigError, FlowsculptError, TrainingError
from pipeline.models.training import fit, launcher
from tests.models.training.test_fit import data, model
from tests.settings import ROOT, fit_with


def test_more_devices_than_there_are_are_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    with pytest.raises(TrainingError, match=r"fit\.devices is 4, but this machine has 3 processors"):
        fit(model(), data(9), data(9), fit_with(device="cpu", devices=4), tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match=r"fit\.devices is 2, but the GPUs that this process sees are 1"):
        fit(model(), data(9), data(9), fit_with(device="auto", devices=2), tmp_path)


def test_another_number_of_processes_than_the_settings_say_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "some", "RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"makes 2 processes, but 4 were started; .* --nnodes 1 --nproc-per-node 2"):
        fit(model(), data(9), data(9), fit_with(device="cpu", devices=2), tmp_path)


def test_several_machines_need_torchrun() -> None:
    with pytest.raises(ConfigError, match=r"fit\.nodes is 2: start this stage on each machine by `torchrun --nnodes 2"):
        launcher.run([sys.executable, "-m", "pipeline.stages.stage1"], fit_with(device="cpu", nodes=2), {})


def ranks(body: str) -> list[str]:
    """A program that does in each rank what ``body`` says; ``rank`` is its number."""
    return [sys.executable, "-c", f"import os, signal, time\nrank = int(os.environ['RANK'])\n{textwrap.dedent(body)}"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os._exit(3 * rank)", "process 1 of 2 of this training ended with exit code 3"),
        (
            "os.kill(os.getpid(), signal.SIGKILL) if rank else (time.sleep(30), open(os.environ['ENDED'], 'w'))",
            "process 1 of 2 .* was ended by SIGKILL",
        ),
    ],
)
def test_a_process_that_fails_ends_the_others(
    body: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launcher, "SECONDS_FOR_A_WORD", 0.2)
    monkeypatch.setenv("ENDED", str(tmp_path / "ended"))
    before = psutil.Process().children()
    with pytest.raises(TrainingError, match=message):
        launcher.run(ranks(body), fit_with(device="cpu", devices=2), {})
    assert not (tmp_path / "ended").exists()  # the other one did not get to its own end
    assert psutil.Process().children() == before


WORK = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from pipeline.base.errors import DataError
    from pipeline.models.training import launcher

    def job():
        if launcher.about()["job"] == "wait":
            print("waits", flush=True)
            time.sleep(60)
        if rank:
            raise DataError("record 7 is odd")
        raise RuntimeError("the other one is gone")

    time.sleep(0 if rank else 1)
    launcher.work(job)
"""


def test_the_fault_that_came_first_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FlowsculptError, match=r"^record 7 is odd$"):
        launcher.run(ranks(WORK), fit_with(device="cpu", devices=2), {"job": "fail"})
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_processes_end_with_the_one_that_started_them(number: signal.Signals, code: int) -> None:
    script = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pipeline.models.training import launcher
        from tests.settings import fit_with
        launcher.run({ranks(WORK)!r}, fit_with(device="cpu", devices=2), {{"job": "wait"}})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        assert starter.stdout.readline() == "waits\n"
        children = psutil.Process(starter.pid).children()
        starter.send_signal(number)
        assert len(children) == 2
        assert psutil.wait_procs(children, timeout=30)[1] == []
        assert starter.wait(30) == code
