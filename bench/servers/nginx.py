# SPDX-License-Identifier: Apache-2.0
"""nginx: stock, with what it has itself against opening files again and again, and with the module."""
from zone import BUILD

from .base import CHECK_SECONDS, CONNECTIONS, DESCRIPTORS, ROOT, USER, Bench, find, said_by

MODULE = BUILD / "ngx_afpa" / ".libs" / "ngx_http_afpa_module.so"
CONF = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
error_log {dir}/error.log warn;
pid {dir}/server.pid;
{load}
events {{ worker_connections {connections}; }}
http {{
    types {{ }}
    default_type application/octet-stream;
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {dir}/tmp/body;
    proxy_temp_path {dir}/tmp/proxy;
    fastcgi_temp_path {dir}/tmp/fastcgi;
    uwsgi_temp_path {dir}/tmp/uwsgi;
    scgi_temp_path {dir}/tmp/scgi;
    sendfile {sendfile};
    tcp_nopush {sendfile};
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {tls}
        root {root};
    }}
}}
"""
TLS = "listen 127.0.0.1:{port2} ssl backlog=4096; ssl_certificate {certificate}; ssl_certificate_key {certificate};"
# As many files as descriptors allow, beside those for connections.
OPEN_FILES = f"open_file_cache max={DESCRIPTORS - CONNECTIONS - 1000} inactive=1h; open_file_cache_valid {CHECK_SECONDS}s;"


class Nginx(Bench):
    name = "nginx"
    title = "nginx, stock"
    note = "sendfile on; tcp_nopush on"
    packages, programs = ("nginx",), ("nginx",)
    tls = forks = True
    single = ("-g", "master_process off;")
    more = ""  # configuration of whoever makes one
    sendfile = "on"
    http = ""

    @classmethod
    def absent(cls):
        if cls.ours and not MODULE.exists():
            return f"{MODULE} has not been built"
        return super().absent()

    @classmethod
    def version(cls):
        return said_by("nginx", "-v", take=lambda line: line.partition("/")[2])

    def config(self):
        certificate = self.site.certificate
        http = self.http.format(zone=self.zone.name, size=self.zone.size) if self.zone else self.http
        return CONF.format(
            user=f"user {USER};" if ROOT else "", dir=self.dir, load=f"load_module {MODULE};" if self.ours else "",
            connections=CONNECTIONS, descriptors=DESCRIPTORS, sendfile=self.sendfile, http=f"{http} {self.more}", port=self.port, root=self.site.root,
            tls=TLS.format(port2=self.port2, certificate=certificate) if certificate else "")

    def prepare(self):
        self.write("server.conf", self.config())

    def words(self):
        return [find("nginx"), "-p", self.dir, "-c", self.dir / "server.conf", "-e", self.dir / "error.log"]


class OpenFileCache(Nginx):
    name = "nginx-ofc"
    title = "nginx, open_file_cache"
    note = OPEN_FILES.rstrip(";")
    http = OPEN_FILES


class NoSendfile(OpenFileCache):
    name = "nginx-nosendfile"
    title = "nginx, open_file_cache, sendfile off"
    note = "reads into its own memory, and writes"
    sendfile = "off"


class Threads(Nginx):
    name = "nginx-aio"
    title = "nginx, aio threads"
    note = "reads files in a pool of threads"
    http = "aio threads;"
    only = ("slow-disk",)


class Pipeline(Nginx):
    name = "nginx-afpa"
    title = "nginx + AFPA, pipeline"
    note = f"afpa_revalidate {CHECK_SECONDS}s"
    ours = True
    http = f"afpa_zone {{zone}} {{size}}; afpa {{zone}}; afpa_revalidate {CHECK_SECONDS}s;"


class FastPath(Pipeline):
    name = "nginx-afpa-fast"
    title = "nginx + AFPA, fast path"
    note = Pipeline.note + "; afpa_fast_path on; afpa_access_log off"
    fast = True
    http = Pipeline.http + " afpa_fast_path on; afpa_access_log off;"


SERVERS = [FastPath, Pipeline, Nginx, OpenFileCache, NoSendfile, Threads]
