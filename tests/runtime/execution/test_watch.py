"""A stage is stopped in its main thread, once, and signals are as before afterwards."""

import os
import signal
import time

import pytest

from runtime.execution.watch import Stopped, stoppable


def wait():
    time.sleep(20)


def stop_amid_handlers(signum):
    """Sends the signal where ordinary errors are caught, and once more while cleaning up."""
    try:
        os.kill(os.getpid(), signum)
        wait()
    except Exception:
        pytest.fail("an ordinary handler has caught it")
    finally:
        os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_once_whatever_catches_exceptions(signum):
    before = signal.getsignal(signum)
    with pytest.raises(Stopped, match=f"it was sent {signum.name}") as caught, stoppable(lambda: None):
        stop_amid_handlers(signum)
    assert caught.value.signum == signum
    assert signal.getsignal(signum) is before


def test_failure_of_the_record_stops_with_its_reason():
    reasons = iter([None, "the disk of the server is full"])
    with pytest.raises(Stopped, match="the disk of the server is full"), stoppable(lambda: next(reasons)):
        wait()


def test_leaving_in_peace_restores_signals():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
