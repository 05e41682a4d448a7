"""The first signal asks for an end in order; another one never gives a traceback, and a second Ctrl-C does not wait."""

import os
import signal

import pytest

from streamlearn.commands.run import signals


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
