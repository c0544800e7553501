# SPDX-License-Identifier: Apache-2.0
"""Tests of afpactl, on segments it makes itself; no server is needed.

    python3 -m pytest tests/tool

AFPA_BUILDDIR      where make ran (default: the top of the tree); `make check` makes tests/hold, which some tests need
AFPA_REQUIRE_ALL=1 what is missing fails the tests instead of skipping them
"""
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

os.umask(0o022)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))
pytest.register_assert_rewrite("tool", "zone")

from limits import need, pytest_configure, pytest_runtest_call, pytest_runtest_setup, pytest_runtest_teardown  # noqa: F401
from tool import HOLD, MIB, Holder, Segment
from zone import AFPACTL


@pytest.fixture(scope="session", autouse=True)
def afpactl():
    need(AFPACTL.exists(), f"{AFPACTL} has not been built")


@pytest.fixture
def make():
    """Makes segments; they are removed at the end."""
    made = []

    def one(size="4m", *params, options=(), create=True):
        segment = Segment(size, *params)
        made.append(segment)
        return segment.create(*options) if create else segment

    yield one
    for segment in made:
        segment.remove()


@pytest.fixture
def zone(make):
    """An empty segment of 4 MB."""
    return make()


@pytest.fixture
def holder():
    """Starts processes that hold objects; they are ended."""
    need(HOLD.exists(), f"{HOLD} has not been built")
    started = []

    def one(segment, *paths):
        started.append(Holder(segment, *paths))
        return started[-1]

    yield one
    for process in started:
        process.__exit__()


@pytest.fixture
def shm():
    """A directory of the test's own on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="afpa_test_", dir="/dev/shm"))  # not the prefix of a zone
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_directory():
    """A directory that every user may enter, unlike tmp_path."""
    directory = Path(tempfile.mkdtemp(prefix="afpa-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def site(tmp_path):
    """Files of 0 bytes, a few bytes, one chunk, several chunks: their directory."""
    for name, size in {"empty": 0, "small.txt": 10, "chunk.bin": 65536, "sub/large.bin": MIB // 2 + 1}.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(i % 251 for i in range(256)) * (size // 256) + b"." * (size % 256))
    return tmp_path / "site"


@pytest.fixture(scope="session", name="need")
def need_fixture():
    return need
