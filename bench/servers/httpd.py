# SPDX-License-Identifier: Apache-2.0
"""Apache httpd (event): stock, with what it has itself for static files, and with the module.  One process of 64 threads."""
import subprocess

from servers import libexec
from zone import BUILD

from .base import CHECK_SECONDS, ROOT, USER, Bench, StartFailed, find, said_by

MODULE = BUILD / "mod_afpa" / ".libs" / "mod_afpa.so"
CONF = """\
ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/server.pid
ErrorLog {dir}/error.log
LogLevel warn
{modules}
{user}
Listen 127.0.0.1:{port}
ListenBackLog 4096
ServerName localhost
TypesConfig {dir}/mime.types
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
ServerLimit 1
StartServers 1
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 64
MinSpareThreads 1
MaxSpareThreads 64
AsyncRequestWorkerFactor 64
DocumentRoot {root}
<Directory />
    AllowOverride None
    Options FollowSymLinks
    Require all granted
</Directory>
{tls}
{more}
"""
TLS = """\
Listen 127.0.0.1:{port2}
<VirtualHost 127.0.0.1:{port2}>
    SSLEngine on
    SSLCertificateFile {certificate}
</VirtualHost>"""


class Httpd(Bench):
    name = "httpd"
    title = "Apache httpd, stock"
    note = "EnableMMAP on, EnableSendfile off, as is the default"
    packages, programs = ("apache2-bin",), ("apache2", "httpd")
    tls = forks = True
    more = ""  # configuration of whoever makes one
    modules = ()
    lines = ""

    @classmethod
    def absent(cls):
        if cls.ours and not MODULE.exists():
            return f"{MODULE} has not been built"
        missing = [m for m in cls.modules if not (libexec() / f"mod_{m}.so").exists()]
        return super().absent() or (f"mod_{missing[0]} is not there" if missing else "")

    @classmethod
    def version(cls):
        return said_by(*[p for p in cls.programs if find(p)][:1] or ["httpd"], "-v", take=lambda line: line.partition("/")[2])

    def config(self):
        names = ["mpm_event", "unixd", "authz_core", "mime", *["ssl"] * bool(self.site.certificate), *self.modules]
        lines = [f"LoadModule {n}_module {libexec()}/mod_{n}.so" for n in names if (libexec() / f"mod_{n}.so").exists()]
        if self.ours:
            lines.append(f"LoadModule afpa_module {MODULE}")
        words = {"dir": self.dir, "memory": self.site.memory, "zone": "", "size": ""}
        if self.zone:
            words.update(zone=self.zone.name, size=self.zone.size)
        return CONF.format(
            dir=self.dir, modules="\n".join(lines), user=f"User {USER}\nGroup {USER}" if ROOT else "", port=self.port,
            root=self.site.root, more=self.lines.format(**words) + self.more,
            tls=TLS.format(port2=self.port2, certificate=self.site.certificate) if self.site.certificate else "")

    def prepare(self):
        self.write("mime.types", "application/octet-stream bin\n")
        self.write("server.conf", self.config())

    def words(self):
        return [find(*self.programs), "-f", self.dir / "server.conf", "-X" if self.alone else "-DFOREGROUND"]


class Sendfile(Httpd):
    name = "httpd-sendfile"
    title = "Apache httpd, EnableSendfile"
    note = "EnableSendfile on"
    lines = "EnableSendfile on\n"


class FileCache(Httpd):
    name = "httpd-filecache"
    title = "Apache httpd, mod_file_cache"
    note = "MMapFile for every file"
    modules = ("file_cache",)
    lines = "Include {dir}/files.conf\n"

    def prepare(self):
        targets = self.site.files.read_text().split() if self.site.files else []
        self.write("files.conf", "".join(f"MMapFile {self.site.root}{target}\n" for target in targets))
        super().prepare()


class Socache(Httpd):
    name = "httpd-socache"
    title = "Apache httpd, mod_cache_socache"
    note = "CacheEnable socache, shmcb of 64 MB, the most it takes"
    modules = ("cache", "cache_socache", "socache_shmcb")
    lines = ("CacheSocache shmcb:{dir}/socache(64000000)\nCacheSocacheMaxSize 10485760\nCacheEnable socache /\n"
             "CacheQuickHandler on\nCacheSocacheMaxTime 86400\n")


class Pipeline(Httpd):
    name = "httpd-afpa"
    title = "Apache httpd + AFPA, pipeline"
    note = f"AfpaRevalidationTimeout {CHECK_SECONDS}"
    ours = True
    lines = f"AfpaZone {{zone}} {{size}}\nAfpaEnable {{zone}}\nAfpaRevalidationTimeout {CHECK_SECONDS}\n"

    def prepare(self):
        super().prepare()
        run = subprocess.run([*self.words(), "-t"], capture_output=True, text=True, timeout=20)
        if run.returncode != 0:
            said = (run.stdout + run.stderr).splitlines() or ["?"]
            wrong = [line for line in said if "Invalid command" in line] or said
            raise StartFailed(f"the module in the tree refuses the configuration: {wrong[0]}")


class FastPath(Pipeline):
    name = "httpd-afpa-fast"
    title = "Apache httpd + AFPA, fast path"
    note = Pipeline.note + "; AfpaFastPath on; AfpaLogging off; AfpaThreads 1"
    fast = True
    lines = Pipeline.lines + "AfpaFastPath on\nAfpaLogging off\nAfpaThreads 1\n"


SERVERS = [FastPath, Pipeline, Httpd, Sendfile, FileCache, Socache]
