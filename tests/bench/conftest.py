# SPDX-License-Identifier: Apache-2.0
"""Tests of the benchmark: that it measures what it says, with a run of a few seconds.

    python3 -m pytest tests/bench
"""
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests" / "server")]

from limits import need, pytest_configure, pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown  # noqa: E402, F401


@pytest.fixture(scope="session", name="need")
def need_fixture():
    return need
