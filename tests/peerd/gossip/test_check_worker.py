from __future__ import annotations

import io
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st

from peerd.gossip.check_worker import FAIL, HOLD, READY, answer, batch_of
from peerd.gossip.checking import worker_command
from protocol.credentials.keys import PrivateKey, SignatureCheck, all_hold

KEY = PrivateKey.from_seed(bytes(32))
GOOD = [SignatureCheck(KEY.public.raw, KEY.sign(bytes([n])), bytes([n])) for n in range(4)]
BAD = SignatureCheck(KEY.public.raw, KEY.sign(b"one"), b"another")
NO_KEY = SignatureCheck(bytes(32), bytes(64), b"")

checks = st.lists(st.sampled_from([*GOOD, BAD, NO_KEY]), max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(checks, max_size=4))
def test_each_batch_is_answered_as_it_would_be_here(batches):
    answers = io.BytesIO()
    answer(io.BytesIO(b"".join(map(batch_of, batches))), answers)
    assert answers.getvalue() == READY + b"".join(HOLD if all_hold(batch) else FAIL for batch in batches)


@given(st.integers(0, len(batch_of([BAD])) - 1))
def test_a_batch_that_is_cut_off_is_the_end(length):
    answers = io.BytesIO()
    answer(io.BytesIO(batch_of(GOOD) + batch_of([BAD])[:length]), answers)
    assert answers.getvalue() == READY + HOLD


class Closed(io.BytesIO):
    """Nobody reads there."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_it_ends_quietly_when_nobody_reads():
    answer(io.BytesIO(batch_of(GOOD)), Closed())


@pytest.mark.system
def test_it_outlives_signals_that_mean_the_daemon_and_ends_with_its_input():
    with subprocess.Popen(worker_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(1) == READY
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
        process.stdin.write(batch_of(GOOD))
        process.stdin.flush()
        assert process.stdout.read(1) == HOLD
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


@pytest.mark.system
def test_it_loads_next_to_nothing():
    heavy = "{'trio', 'apsw', 'OpenSSL', 'msgspec'} & set(sys.modules)"
    script = f"import sys, peerd.gossip.check_worker; print({heavy})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
