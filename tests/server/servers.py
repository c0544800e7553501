# SPDX-License-Identifier: Apache-2.0
"""nginx and httpd as child processes of a test, each with a configuration, ports and a directory of its own.

The same text configures a server with the module and without: for the latter each of our directives, and the one that
loads the module, is left out, and nothing else differs.
"""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from child import Child, find
from wire import eventually
from zone import BUILD, STOCK_ONLY

USER = "www-data"
ROOT = os.geteuid() == 0
KINDS = ("nginx", "httpd")

OURS = {
    "nginx": re.compile(r"(?<![$\w])(load_module [^;]*afpa[^;]*|afpa\w*\s[^;]*|add_header [^;]*\$afpa[^;]*);"),
    "httpd": re.compile(r"^[ \t]*(Afpa|LoadModule afpa).*\n", re.M),
}

NGINX = """
@USER@
daemon off;
worker_processes @WORKERS@;
error_log @DIR@/error.log notice;
pid @DIR@/server.pid;
load_module @BUILD@/ngx_afpa/.libs/ngx_http_afpa_module.so;
events { worker_connections 2048; }
http {
    types { text/html html shtml; text/plain txt; text/css css; image/gif gif; }
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    absolute_redirect off;
    client_body_temp_path @DIR@/tmp-body;
    proxy_temp_path @DIR@/tmp-proxy;
    fastcgi_temp_path @DIR@/tmp-fastcgi;
    uwsgi_temp_path @DIR@/tmp-uwsgi;
    scgi_temp_path @DIR@/tmp-scgi;
    @ZONE_LINE@
    afpa @ZONE@;
    afpa_revalidate @REVALIDATE@ms;
    @OUTER@
    server {
        listen 127.0.0.1:@PORT@;
        server_name localhost;
        root @ROOT@;
        @SERVER@
    }
}
"""

HTTPD_MODULES = """authn_core authn_file authz_core authz_host authz_user auth_basic access_compat alias allowmethods autoindex deflate
dir env expires filter headers http2 include mime negotiation ratelimit reqtimeout rewrite setenvif socache_shmcb ssl substitute""".split()

HTTPD = """
ServerRoot @DIR@
DefaultRuntimeDir @DIR@
PidFile @DIR@/server.pid
ErrorLog @DIR@/error.log
LogLevel notice
LoadModule mpm_@MPM@_module @LIBEXEC@/mod_mpm_@MPM@.so
@MODULES@
LoadModule afpa_module @BUILD@/mod_afpa/.libs/mod_afpa.so
@USER@
Listen 127.0.0.1:@PORT@
ServerName localhost
ServerSignature Off
TypesConfig @DIR@/mime.types
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 30
StartServers @WORKERS@
ServerLimit 16
<IfModule !mpm_prefork_module>
ThreadsPerChild 16
MaxRequestWorkers 128
MinSpareThreads 16
MaxSpareThreads 128
</IfModule>
@ZONE_LINE@
AfpaEnable @ZONE@
AfpaRevalidationTimeout @REVALIDATE@ms
DocumentRoot @ROOT@
<Directory />
    AllowOverride None
    Options FollowSymLinks
    Require all granted
</Directory>
DirectoryIndex index.html
@OUTER@
@SERVER@
"""

MIME_TYPES = "text/html html shtml\ntext/plain txt\ntext/css css\nimage/gif gif\n"


def apxs():
    return shutil.which("apxs2") or shutil.which("apxs")


def libexec():
    if not apxs():
        return Path("/usr/lib/apache2/modules")
    return Path(subprocess.run([apxs(), "-q", "LIBEXECDIR"], capture_output=True, text=True, timeout=20).stdout.strip())


def binary(kind):
    names = ("nginx",) if kind == "nginx" else ("apache2", "httpd")
    return find(*names)


def missing(kind):
    """Why servers of this kind cannot be tested here; empty if they can."""
    module = BUILD / ("ngx_afpa/.libs/ngx_http_afpa_module.so" if kind == "nginx" else "mod_afpa/.libs/mod_afpa.so")
    if not binary(kind):
        return f"{kind} is not installed"
    if STOCK_ONLY:
        return ""
    return "" if module.exists() else f"{module} has not been built"


class Server(Child):
    """One server.  kind: "nginx" or "httpd"; zone None: without the module.  conf goes where the site is configured, outer
    one level further out (nginx: http; httpd: before conf).  @ROOT@, @DIR@, @PORT@, @PORT2@, @ZONE@ stand for what they say.
    wrap: words put before the command, to run it with other rights or limits; user: whom root's server is to work as."""

    def __init__(self, kind, root, zone=None, conf="", outer="", workers=2, revalidate=200, mpm="event", wrap=(),
                 user=USER if ROOT else None):
        super().__init__(kind)
        self.kind, self.root, self.mpm, self.wrap, self.user = kind, root, mpm, list(wrap), user
        self.zone = None if STOCK_ONLY else zone
        self.conf, self.outer, self.workers_wanted, self.revalidate = conf, outer, workers, revalidate
        (self.dir / "mime.types").write_text(MIME_TYPES)
        self.file = self.dir / "server.conf"
        self.configure()

    def configure(self, zone_line=None):
        """Writes the configuration file; zone_line replaces the line that declares the zone."""
        text = NGINX if self.kind == "nginx" else HTTPD
        text = text.replace("@OUTER@", self.outer).replace("@SERVER@", self.conf)
        if self.zone:
            text = text.replace("@ZONE_LINE@", zone_line or self.zone.directive(self.kind))
            text = text.replace("@ZONE@", self.zone.name)
        else:
            text = OURS[self.kind].sub("", text.replace("@ZONE_LINE@", ""))
        for name, value in self._words().items():
            text = text.replace(f"@{name}@", str(value))
        self.file.write_text(text)

    def _words(self):
        words = {"DIR": self.dir, "ROOT": self.root, "PORT": self.port, "PORT2": self.port2, "BUILD": BUILD, "MPM": self.mpm,
                 "WORKERS": self.workers_wanted, "REVALIDATE": self.revalidate, "USER": ""}
        if self.user:
            words["USER"] = f"user {self.user};" if self.kind == "nginx" else f"User {self.user}\nGroup {self.user}"
        if self.kind == "httpd":
            where = libexec()
            words["LIBEXEC"] = where
            words["MODULES"] = "\n".join(f"LoadModule {m}_module {where}/mod_{m}.so" for m in HTTPD_MODULES
                                         if (where / f"mod_{m}.so").exists())
        return words

    def command(self, *more):
        if self.kind == "nginx":
            return [*self.wrap, binary("nginx"), "-p", self.dir, "-c", self.file, "-e", self.dir / "error.log", *more]
        return [*self.wrap, binary("httpd"), "-f", self.file, *(more or ("-D", "FOREGROUND"))]

    def check(self):
        """The server's own test of its configuration: exit status and output."""
        run = subprocess.run(self.command("-t"), capture_output=True, text=True, timeout=20)
        return run.returncode, run.stdout + run.stderr

    def run(self):
        """Starts and does not expect it to last: exit status, and what was said on standard error and in the log."""
        self.launch()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"{self.kind} runs although it should not:\n{self.said()}") from None
        return status, self.said()

    def ready(self):
        return self.workers()

    def reload(self, wait=True):
        """Has the server read its configuration again, gracefully; returns when the new workers are there and the old are gone
        (wait=False: they may finish what they began)."""
        before = set(self.workers())
        self.process.send_signal(signal.SIGHUP if self.kind == "nginx" else signal.SIGUSR1)
        assert eventually(lambda: set(self.workers()) - before, 10), f"no new workers after a reload:\n{self.log()}"
        assert not wait or eventually(lambda: not set(self.workers()) & before, 10), "old workers stay after a reload"
