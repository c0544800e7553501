# SPDX-License-Identifier: Apache-2.0
"""Hooks for a conftest.py: how long a test may take, and what has to be there for it to run."""
import os
import signal

import pytest

TEST_SECONDS = 60


def need(condition, reason):
    """Skips the test, with a reason, unless the condition holds; fails it where everything has to run."""
    if not condition:
        (pytest.fail if os.environ.get("AFPA_REQUIRE_ALL") == "1" else pytest.skip)(reason)


def limited(item, seconds):
    def ring(signum, frame):
        raise TimeoutError(f"{item.nodeid} took longer than {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


def limit(item):
    mark = item.get_closest_marker("seconds")
    return mark.args[0] if mark else TEST_SECONDS


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    yield from limited(item, 60)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from limited(item, limit(item))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from limited(item, 60)


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): the longest this test may take")
