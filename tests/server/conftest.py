# SPDX-License-Identifier: Apache-2.0
"""Tests of the modules inside the real servers.

    python3 -m pytest tests/server [-k nginx]

AFPA_BUILDDIR      where make ran (default: the top of the tree)
AFPA_REQUIRE_ALL=1 a server or module that is missing fails the tests instead of skipping them
AFPA_STOCK_ONLY=1  no module at all: both servers of a pair are stock; what fails then is a wrong expectation

A test module that uses `pair` says how its servers are configured and what they serve:
CONF and OUTER (texts by kind of server, see servers.Server), SETTINGS (more arguments of Pair), tree(pair) (makes the files).
"""
import os

import pytest

os.umask(0o022)
pytest.register_assert_rewrite("pair", "servers", "zone", "wire", "load")

from limits import need, pytest_configure, pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown  # noqa: F401
from pair import Pair
from servers import KINDS, missing
from zone import AFPACTL, STOCK_ONLY


@pytest.fixture(scope="session", autouse=True)
def afpactl():
    need(STOCK_ONLY or AFPACTL.exists(), f"{AFPACTL} has not been built")


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    """Each test that uses this runs once for each server."""
    need(not missing(request.param), missing(request.param))
    return request.param


@pytest.fixture(scope="module")
def settings():
    """More arguments of Pair; a test module may have a fixture of this name of its own."""
    return {}


@pytest.fixture(scope="module")
def pair(kind, settings, request):
    """The two servers of a test module; at the end every pin is back and the segment is sound."""
    module = request.module
    texts = {name.lower(): getattr(module, name).get(kind, "") for name in ("CONF", "OUTER") if hasattr(module, name)}
    with Pair(kind, **texts, **getattr(module, "SETTINGS", {}), **settings) as pair:
        getattr(module, "tree", lambda pair: None)(pair)
        yield pair
        assert pair.zone.unpinned(), f"pins left: {pair.zone.stat()}"
        assert not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log(), pair.ours.log()
        pair.ours.stop()
        assert not pair.zone.problems()


@pytest.fixture(scope="session", name="need")
def need_fixture():
    return need
