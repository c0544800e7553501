# SPDX-License-Identifier: Apache-2.0
"""Tests of the modules inside the real servers.

    python3 -m pytest tests/server [-k nginx]

AFPA_BUILDDIR      where make ran (default: the top of the tree)
AFPA_REQUIRE_ALL=1 a server or module that is missing fails the tests instead of skipping them
AFPA_STOCK_ONLY=1  no module at all: both servers of a pair are stock; what fails then is a wrong expectation

A module with FAST = True runs once more, with the fast path in front; AFPA_FAST=0 leaves that out.

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


FAST_PATH = {"nginx": "afpa_fast_path on; afpa_access_log off;", "httpd": "AfpaFastPath on\nAfpaLogging off\n"}
# pytest keeps a fixture as long as its parameter is the very same object.
FLAVOURS = [*KINDS, *(f"{kind}+fast" for kind in FAST_PATH)]


def pytest_generate_tests(metafunc):
    """A flavour is a kind of server, or one with its fast path: "nginx+fast"."""
    if "flavour" in metafunc.fixturenames:
        fast = getattr(metafunc.module, "FAST", False) and not STOCK_ONLY and os.environ.get("AFPA_FAST") != "0"
        metafunc.parametrize("flavour", FLAVOURS if fast else FLAVOURS[:len(KINDS)], indirect=True, scope="module")


@pytest.fixture(scope="module")
def flavour(request):
    return request.param


@pytest.fixture(scope="module")
def kind(flavour):
    """Each test that uses this runs once for each server."""
    kind = flavour.partition("+")[0]
    need(not missing(kind), missing(kind))
    return kind


@pytest.fixture(scope="module")
def settings():
    """More arguments of Pair; a test module may have a fixture of this name of its own."""
    return {}


@pytest.fixture(scope="module")
def pair(kind, flavour, settings, request):
    """The two servers of a test module; at the end every pin is back and the segment is sound."""
    module, fast = request.module, flavour.endswith("+fast")
    texts = {name.lower(): getattr(module, name).get(kind, "") for name in ("CONF", "OUTER") if hasattr(module, name)}
    if fast:
        texts["conf"] = FAST_PATH[kind] + texts.get("conf", "")
    with Pair(kind, **texts, **getattr(module, "SETTINGS", {}), **settings) as pair:
        getattr(module, "tree", lambda pair: None)(pair)
        yield pair
        assert not fast or pair.zone.count("fast_hits") > 0
        assert pair.zone.unpinned(), f"pins left: {pair.zone.stat()}"
        assert not pair.zone.problems()
        assert "signal 11" not in pair.ours.log() and "signal 6" not in pair.ours.log(), pair.ours.log()
        pair.ours.stop()
        assert not pair.zone.problems()


@pytest.fixture(scope="session", name="need")
def need_fixture():
    return need
