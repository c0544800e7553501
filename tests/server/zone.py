# SPDX-License-Identifier: Apache-2.0
"""A cache zone as a test sees it: a unique segment file, and afpactl to look into it."""
import itertools
import json
import os
import subprocess
from pathlib import Path

from wire import eventually

BUILD = Path(os.environ.get("AFPA_BUILDDIR") or Path(__file__).resolve().parents[2]).resolve()
AFPACTL = BUILD / "afpactl" / "afpactl"
# With this set both servers of a pair run without the module: what fails then is a wrong expectation of the test.
STOCK_ONLY = os.environ.get("AFPA_STOCK_ONLY") == "1"

_numbers = itertools.count()


class Zone:
    def __init__(self, size="32m", *params):
        self.name = f"t{os.getpid()}-{next(_numbers)}"
        self.size = size
        self.params = params
        given = [p.partition("=")[2] for p in params if p.startswith("path=")]
        self.path = Path(given[0]) if given else Path(f"/dev/shm/afpa-{self.name}")

    def directive(self, kind, size=None):
        words = ["afpa_zone" if kind == "nginx" else "AfpaZone", self.name, size or self.size, *self.params]
        return " ".join(words) + (";" if kind == "nginx" else "")

    def ctl(self, *args, check=True):
        """Runs afpactl on this zone."""
        run = subprocess.run([AFPACTL, "-z", str(self.path), *map(str, args)], capture_output=True, text=True, timeout=60)
        assert not check or run.returncode == 0, f"afpactl {args}: exit {run.returncode}: {run.stderr}{run.stdout}"
        return run

    def stat(self):
        return json.loads(self.ctl("--json", "stat").stdout)

    def show(self, path):
        return json.loads(self.ctl("--json", "show", path).stdout)

    def count(self, name):
        """A counter, or the number of requests declined for a reason."""
        if STOCK_ONLY:
            return 0
        stat = self.stat()
        return stat[name] if name in stat else stat["declined"].get(name, 0)

    def hits(self):
        """From memory, by the pipeline or by the fast path."""
        return self.count("hits")

    def grows(self, name, before, by=1, seconds=2):
        """Whether a counter grew by at least `by` since it was `before`; servers count a moment after they replied."""
        return STOCK_ONLY or eventually(lambda: self.count(name) >= before + by, seconds)

    def unpinned(self, seconds=5):
        """Whether every pin is given back in time."""
        return STOCK_ONLY or eventually(lambda: self.count("pins") == 0, seconds)

    def problems(self):
        """What `afpactl verify --content` finds wrong."""
        if STOCK_ONLY or not self.path.exists():
            return ""
        run = self.ctl("verify", "--content", check=False)
        return "" if run.returncode == 0 else run.stdout + run.stderr

    def remove(self):
        if self.path.exists():
            if AFPACTL.exists():
                self.ctl("destroy", self.path, check=False)
            self.path.unlink(missing_ok=True)
