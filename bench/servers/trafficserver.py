# SPDX-License-Identifier: Apache-2.0
"""Apache Traffic Server: one network thread, cache in memory, filled from the origin."""
from .base import Bench, find, said_by

RUNROOT = """\
prefix: {dir}
exec_prefix: {dir}
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: {dir}/etc
datadir: {dir}/cache
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {dir}/run
runtimedir: {dir}/run
logdir: {dir}/log
cachedir: {dir}/cache
"""
RECORDS = {
    "exec_thread.autoconfig": 0, "exec_thread.limit": 1, "exec_thread.affinity": 0, "accept_threads": 0, "task_threads": 1,
    "cache.threads_per_disk": 2, "cache.ram_cache_cutoff": 20000000, "cache.limits.http.max_alts": 1,
    "http.insert_request_via_str": 0, "http.insert_response_via_str": 0, "http.cache.required_headers": 0,
    "http.keep_alive_no_activity_timeout_in": 600, "net.listen_backlog": 4096, "log.logging_enabled": 0,
    "url_remap.remap_required": 1, "diags.debug.enabled": 0, "net.connections_throttle": 30000,
}


class TrafficServer(Bench):
    name = "trafficserver"
    title = "Apache Traffic Server"
    note = "one network thread; memory cache, with a file behind it"
    peer = by_origin = True
    packages, programs = ("trafficserver",), ("traffic_server",)
    tls = True

    @classmethod
    def version(cls):
        return said_by("traffic_server", "-V", take=lambda line: line.split()[2])

    def config(self):
        ports = f"{self.port}:ip-in=127.0.0.1" + (f" {self.port2}:ssl:ip-in=127.0.0.1" if self.site.certificate else "")
        texts = {"http.server_ports": ports, "admin.user_id": "#-1"}
        lines = [f"CONFIG proxy.config.{name} INT {value}" for name, value in RECORDS.items()]
        lines += [f"CONFIG proxy.config.{name} STRING {value}" for name, value in texts.items()]
        lines.append(f"CONFIG proxy.config.cache.ram_cache.size INT {self.site.memory << 20}")
        return "\n".join(lines) + "\n"

    def prepare(self):
        for name in ("etc", "cache", "run", "log"):
            (self.dir / name).mkdir(exist_ok=True)
        self.write("runroot.yaml", RUNROOT.format(dir=self.dir))
        self.write("etc/records.config", self.config())
        self.write("etc/remap.config", f"map / http://127.0.0.1:{self.site.origin}/\n")
        self.write("etc/storage.config", f"{self.dir}/cache {max(self.site.memory, 256)}M\n")
        self.write("etc/ip_allow.yaml", "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n")
        certificate = self.site.certificate
        self.write("etc/ssl_multicert.config", f"dest_ip=* ssl_cert_name={certificate} ssl_key_name={certificate}\n" if certificate else "")
        for name in ("plugin.config", "cache.config", "hosting.config", "volume.config", "parent.config", "logging.yaml", "sni.yaml",
                     "strategies.yaml", "splitdns.config", "socks.config"):
            self.write(f"etc/{name}", "")

    def words(self):
        return [find("traffic_server"), f"--run-root={self.dir}/runroot.yaml"]


SERVERS = [TrafficServer]
