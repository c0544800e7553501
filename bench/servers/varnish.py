# SPDX-License-Identifier: Apache-2.0
"""Varnish: one pool of threads, storage in memory, filled from the origin."""
from .base import Bench, find, said_by

VCL = """\
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_recv {{ return (hash); }}
sub vcl_backend_response {{ set beresp.ttl = 1d; }}
"""


class Varnish(Bench):
    name = "varnish"
    title = "Varnish"
    note = "malloc storage, ttl of a day; no log is written, but its shared memory log is always on"
    peer = by_origin = forks = True
    packages, programs = ("varnish", "gcc"), ("varnishd",)

    @classmethod
    def version(cls):
        return said_by("varnishd", "-V", take=lambda line: line.partition("varnish-")[2].split()[0])

    def config(self):
        return VCL.format(origin=self.site.origin)

    def prepare(self):
        self.write("default.vcl", self.config())

    def words(self):
        return [find("varnishd"), "-F", "-j", "none", "-a", f"127.0.0.1:{self.port}", "-T", "none", "-f", self.dir / "default.vcl", "-n", self.dir / "work",
                "-s", f"malloc,{self.site.memory}m", "-p", "thread_pools=1", "-p", "thread_pool_min=64", "-p", "thread_pool_max=2500",
                "-p", "timeout_idle=600", "-p", "listen_depth=4096"]


SERVERS = [Varnish]
