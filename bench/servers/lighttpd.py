# SPDX-License-Identifier: Apache-2.0
"""lighttpd, as Debian builds it."""
from pathlib import Path

from .base import CONNECTIONS, DESCRIPTORS, ROOT, USER, Bench, find, said_by

MODULES = Path("/usr/lib/lighttpd")
CONF = """\
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{root}"
server.errorlog = "{dir}/error.log"
server.pid-file = "{dir}/server.pid"
server.upload-dirs = ( "{dir}/tmp" )
server.max-fds = {descriptors}
server.max-connections = {connections}
server.listen-backlog = 4096
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 600
server.modules = ({modules})
mimetype.assign = ( "" => "application/octet-stream" )
{user}
{tls}
"""
TLS = """$SERVER["socket"] == "127.0.0.1:{port2}" {{ ssl.engine = "enable" ssl.pemfile = "{certificate}" }}"""


class Lighttpd(Bench):
    name = "lighttpd"
    title = "lighttpd"
    note = "a new connection every 65,535 requests, the most it can be told"
    peer = True
    packages, programs = ("lighttpd", "lighttpd-mod-openssl"), ("lighttpd",)
    tls = (MODULES / "mod_openssl.so").exists()
    # Its stat cache, also when told to be off, keeps a file open until it was not asked for in 2 to 3 seconds; more files than
    # descriptors, and open() fails with EMFILE, which it answers with 403.  So not all 40,000 within one such time.
    warm_by = (0.35, 3)

    @classmethod
    def version(cls):
        return said_by("lighttpd", "-v", take=lambda line: line.split()[0].partition("/")[2])

    def config(self):
        tls = self.site.certificate if self.tls else None
        return CONF.format(port=self.port, root=self.site.root, dir=self.dir, connections=CONNECTIONS, descriptors=DESCRIPTORS,
                           modules='"mod_openssl"' if tls else "", tls=TLS.format(port2=self.port2, certificate=tls) if tls else "",
                           user=f'server.username = "{USER}"\nserver.groupname = "{USER}"' if ROOT else "")

    def prepare(self):
        self.write("server.conf", self.config())

    def words(self):
        return [find("lighttpd"), "-D", "-f", self.dir / "server.conf"]


SERVERS = [Lighttpd]
