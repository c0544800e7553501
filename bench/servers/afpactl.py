# SPDX-License-Identifier: Apache-2.0
"""afpactl serve: the engine with a loop of its own and no host behind it."""
from .base import AFPACTL, Bench, said_by


class Serve(Bench):
    name = "serve"
    title = "afpactl serve"
    note = "the engine alone, one thread"
    ours = fast = True

    @classmethod
    def absent(cls):
        return "" if AFPACTL.exists() else f"{AFPACTL} has not been built"

    @classmethod
    def version(cls):
        return said_by(str(AFPACTL), "--version")

    def prepare(self):
        if not self.zone.path.exists():
            self.zone.ctl("create", self.zone.name, self.zone.size)

    def words(self):
        return [AFPACTL, "-z", str(self.zone.path), "serve", "-j", "1", "-p", str(self.port), str(self.site.root)]


SERVERS = [Serve]
