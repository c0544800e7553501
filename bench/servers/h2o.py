# SPDX-License-Identifier: Apache-2.0
"""H2O, one thread."""
from .base import CONNECTIONS, ROOT, USER, Bench, find, said_by

CONF = """\
{user}
pid-file: {dir}/server.pid
error-log: {dir}/error.log
num-threads: 1
max-connections: {connections}
http1-request-timeout: 600
temp-buffer-path: {dir}/tmp
listen:
  host: 127.0.0.1
  port: {port}
{tls}
hosts:
  default:
    paths:
      /:
        file.dir: {root}
"""
TLS = """\
listen:
  host: 127.0.0.1
  port: {port2}
  ssl:
    certificate-file: {certificate}
    key-file: {certificate}
"""


class H2o(Bench):
    name = "h2o"
    title = "H2O"
    note = "num-threads 1"
    peer = True
    packages, programs = ("h2o",), ("h2o",)
    tls = True

    @classmethod
    def version(cls):
        return said_by("h2o", "-v", take=lambda line: line.split()[-1])

    def config(self):
        certificate = self.site.certificate
        return CONF.format(user=f"user: {USER}" if ROOT else "", dir=self.dir, connections=CONNECTIONS, port=self.port, root=self.site.root,
                           tls=TLS.format(port2=self.port2, certificate=certificate) if certificate else "")

    def prepare(self):
        self.write("server.conf", self.config())

    def words(self):
        return [find("h2o"), "-c", self.dir / "server.conf"]


SERVERS = [H2o]
