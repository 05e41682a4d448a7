"""The first signal asks for an end in order; another one never gives a traceback, and a second Ctrl-C does not wait.

A state folder belongs to one run at a time.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamlearn.commands.process import lock, lock_folder, signals
from streamlearn.core.errors import ConfigError, RunningError


def test_signals_close_together_ask_once():
    asked = []
    with signals(lambda: asked.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert asked == [1]


def test_a_second_interrupt_does_not_wait():
    with signals(lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with signals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_holder_is_told_who_has_the_folder(tmp_path):
    with lock(tmp_path / "state"), pytest.raises(RunningError) as refused, lock(tmp_path / "state"):
        pass
    assert f"another run with this name is on (process {os.getpid()})" in str(refused.value)
    assert refused.value.exit_code == 2


def test_the_folder_is_free_once_the_block_has_ended(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock(tmp_path):
            raise ZeroDivisionError


def test_the_folder_is_free_once_its_holder_was_killed(tmp_path):
    hold = (
        "import pathlib, sys, time; from streamlearn.commands.process import lock\n"
        "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunningError, match=f"process {other.pid}"), lock(tmp_path):
            pass
        other.kill()
    with lock(tmp_path):
        pass


def test_a_failure_inside_is_not_taken_for_one_of_the_folder(tmp_path):
    with pytest.raises(PermissionError), lock(tmp_path):
        raise PermissionError


def test_a_folder_that_cannot_be_made_is_refused_with_the_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"snapshots\.path"), lock(tmp_path / "file" / "state"):
        pass


def test_the_lock_of_a_bucket_is_on_this_machine():
    assert lock_folder("s3://bucket/support", "support") == Path("state/support")
    assert lock_folder("/var/state", "support") == Path("/var/state")
