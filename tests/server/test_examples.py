# SPDX-License-Identifier: Apache-2.0
"""The configurations in README.md, as they stand there but for names of directories, are ones that the servers take."""
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from docroot import put
from servers import OURS, Server
from wire import fetch, get
from zone import BUILD, STOCK_ONLY, Zone

pytestmark = pytest.mark.skipif(STOCK_ONLY, reason="needs the module")

README = Path(os.environ.get("AFPA_SRCDIR") or Path(__file__).resolve().parents[2]) / "README.md"
TITLES = {"nginx": "nginx", "httpd": "Apache httpd"}
TEMPORARY = "".join(f"{what}_temp_path @DIR@/tmp-{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def example(kind):
    """The indented lines of the server's section."""
    section = README.read_text().partition(f"\n## {TITLES[kind]}\n")[2].partition("\n## ")[0]
    return "".join(line[4:] for line in re.findall(r"^(?:    .*)?\n", section, re.M))


def in_place(kind, text, server):
    """What is missing for a server of the test's own, and directories and a zone that are there."""
    if kind == "nginx":
        text = text.replace("http {", "http { access_log off;" + TEMPORARY)
        text = text.replace("server {", "server { listen 127.0.0.1:@PORT@;")
        text = "@USER@ daemon off; error_log @DIR@/error.log; pid @DIR@/server.pid;\n" + text + "events { }\n"
        text = text.replace("modules/ngx_http_afpa", f"{BUILD}/ngx_afpa/.libs/ngx_http_afpa")
    else:
        text = OURS["httpd"].sub("", server.file.read_text()) + text
        text = re.sub(r"/\S*/mod_afpa\.so", f"{BUILD}/mod_afpa/.libs/mod_afpa.so", text)
    text = text.replace("site 256m", server.zone.name + " 8m").replace("site;", server.zone.name + ";")
    text = re.sub("AfpaEnable site", f"AfpaEnable {server.zone.name}", text)
    text = re.sub(r"/var/log/\w+", "@DIR@", text).replace("/srv/www", str(server.root))
    for name, value in server._words().items():
        text = text.replace(f"@{name}@", str(value))
    return text


@pytest.fixture
def site():
    root = Path(tempfile.mkdtemp(prefix="site-"))
    root.chmod(0o755)
    put(root / "file.txt", b"x" * 1000)
    yield root
    shutil.rmtree(root)


def test_readme(kind, site):
    zone = Zone("8m")
    server = Server(kind, site, zone)
    server.file.write_text(in_place(kind, example(kind), server))
    try:
        status, said = server.check()
        assert status == 0, f"README.md has a configuration that is none:\n{said}"
        with server:
            for _ in range(3):
                assert fetch(server.port, get("/file.txt")).body == b"x" * 1000
            assert zone.hits() > 0, server.said()
    finally:
        server.close()
        zone.remove()
