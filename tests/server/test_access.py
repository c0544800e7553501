# SPDX-License-Identifier: Apache-2.0
"""What the server forbids stays forbidden, however warm the file is; what it allows comes from the cache."""
import base64
import os
import time

import pytest

from docroot import mkdir, payload
from wire import eventually

# user "ann", password "secret"
PASSWORDS = "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
ANN = "Authorization: Basic " + base64.b64encode(b"ann:secret").decode()
WRONG = "Authorization: Basic " + base64.b64encode(b"ann:wrong").decode()
BOB = "Authorization: Basic " + base64.b64encode(b"bob:secret").decode()

BASIC = """AuthType Basic
AuthName "closed"
AuthUserFile @ROOT@/passwords"""

CONF = {
    "nginx": """
        location /basic/ { auth_basic "closed"; auth_basic_user_file @ROOT@/passwords; }
        location /deny/ { deny all; }
        location /allow/ { allow 127.0.0.1; deny all; }
        location /elsewhere/ { allow 10.1.2.3; deny all; }
        location /any/ { satisfy any; deny all; auth_basic "closed"; auth_basic_user_file @ROOT@/passwords; }
        location /any-open/ { satisfy any; allow 127.0.0.1; deny all; auth_basic "closed"; auth_basic_user_file @ROOT@/passwords; }
        location /all/ { satisfy all; allow 127.0.0.1; deny all; auth_basic "closed"; auth_basic_user_file @ROOT@/passwords; }
        location /sub/ { auth_request /ask; }
        location = /ask { internal; if ($http_x_key != "open") { return 401; } return 204; }
        location /methods/ { limit_except GET { deny all; } }
        location /internal/ { internal; }
        location /links/ { disable_symlinks on; }
        location /owner/ { disable_symlinks if_not_owner; }
        location /from/ { disable_symlinks on from=$document_root/from; }
        location /key/ { if ($http_x_key != "open") { return 403; } }
        location /referer/ { valid_referers server_names; if ($invalid_referer) { return 403; } }
        location /dot/ { location ~ /\\. { deny all; } }
    """,
    "httpd": f"""
        <Directory @ROOT@/basic>\n{BASIC}\nRequire valid-user\n</Directory>
        <Directory @ROOT@/deny>\nRequire all denied\n</Directory>
        <Directory @ROOT@/allow>\nRequire ip 127.0.0.1\n</Directory>
        <Directory @ROOT@/elsewhere>\nRequire ip 10.1.2.3\n</Directory>
        <Directory @ROOT@/any>\n{BASIC}\n<RequireAny>\nRequire valid-user\nRequire ip 10.1.2.3\n</RequireAny>\n</Directory>
        <Directory @ROOT@/any-open>\n{BASIC}\n<RequireAny>\nRequire valid-user\nRequire ip 127.0.0.1\n</RequireAny>\n</Directory>
        <Directory @ROOT@/all>\n{BASIC}\n<RequireAll>\nRequire valid-user\nRequire ip 127.0.0.1\n</RequireAll>\n</Directory>
        <Directory @ROOT@/sub>\n{BASIC}\nSatisfy any\nOrder deny,allow\nDeny from all\nRequire valid-user\n</Directory>
        <Directory @ROOT@/methods>\n<LimitExcept GET>\nRequire all denied\n</LimitExcept>\n</Directory>
        <Location /internal>\nRequire expr %{{ENV:REDIRECT_STATUS}} =~ /./\n</Location>
        <Directory @ROOT@/links>\nOptions -FollowSymLinks\n</Directory>
        <Directory @ROOT@/owner>\nOptions -FollowSymLinks +SymLinksIfOwnerMatch\n</Directory>
        <Directory @ROOT@/from>\nOptions -FollowSymLinks\n</Directory>
        <Directory @ROOT@/key>\nRequire expr %{{HTTP:X-Key}} == "open"\n</Directory>
        SetEnvIf Referer "^http://localhost/" inside
        <Directory @ROOT@/referer>\nRequire env inside\n</Directory>
        <FilesMatch "^\\.">\nRequire all denied\n</FilesMatch>
        <Directory @ROOT@/htaccess>\nAllowOverride All\n</Directory>
    """,
}

PLACES = ["basic", "deny", "allow", "elsewhere", "any", "any-open", "all", "sub", "methods", "internal", "key", "referer"]
# Who a client says it is; each is asked for each place.
CLIENTS = [[], [ANN], [WRONG], [BOB], ["X-Key: open"], ["Referer: http://localhost/x"], ["Referer: http://evil.example/"],
           ["X-Forwarded-For: 10.1.2.3"], ["Authorization: Basic"], ["Authorization: Bearer x"], [ANN, "X-Key: open"]]


def tree(pair):
    pair.put("passwords", PASSWORDS.encode())
    for place in PLACES + ["links", "owner", "from", "htaccess", "open", "dot"]:
        pair.put(f"{place}/file.bin", payload(place, 70000))
    pair.put("dot/.hidden", payload("hidden", 100))
    pair.put("target/file.bin", payload("target", 5000))


@pytest.mark.parametrize("place", PLACES)
def test_who_may(pair, place):
    """Three rounds, so that the file is warm for those who may have it and asked for by those who may not."""
    seen = set()
    for _ in range(3):
        for client in CLIENTS:
            for method in ("GET", "HEAD"):
                seen.add(pair.same(f"/{place}/file.bin", *client, method=method).status)
            pair.same(f"/{place}/file.bin", *client, "If-None-Match: *")
            pair.same(f"/{place}/file.bin", *client, "Range: bytes=1-9")
            pair.same(f"/{place}/missing.bin", *client)
    assert place in ("deny", "elsewhere", "internal", "allow", "any-open", "methods") or len(seen) > 1


@pytest.mark.parametrize("place, client", [("basic", ANN), ("any", ANN), ("any-open", "X: y"), ("all", ANN), ("allow", "X: y"),
                                           ("key", "X-Key: open"), ("referer", "Referer: http://localhost/")])
def test_those_who_may_are_served_from_the_cache(pair, place, client):
    assert pair.warm(f"/{place}/file.bin", client).status == 200
    if client != "X: y":
        assert pair.same(f"/{place}/file.bin").status in (401, 403)


def test_warmed_file_stays_forbidden(pair):
    """The same file under a name that is open and one that is not."""
    for place in ("deny", "elsewhere", "basic"):
        path = pair.root / "open" / f"{place}.bin"
        os.link(pair.root / place / "file.bin", path)
        assert pair.warm(f"/open/{place}.bin").status == 200
        assert pair.same(f"/{place}/file.bin").status in (401, 403)


def test_payload_warmed_by_afpactl_stays_forbidden(pair):
    if pair.ours.zone:
        pair.zone.ctl("warm", pair.root / "deny", pair.root / "basic")
    assert pair.same("/deny/file.bin").status == 403
    assert pair.same("/basic/file.bin").status == 401
    assert pair.same("/basic/file.bin", ANN).status == 200


def test_changed_password(pair):
    pair.warm("/basic/file.bin", ANN)
    pair.put("passwords", b"ann:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    assert pair.same("/basic/file.bin", ANN).status == 401
    pair.put("passwords", PASSWORDS.encode())
    assert pair.same("/basic/file.bin", ANN).status == 200


@pytest.mark.parametrize("place", ["links", "owner", "from"])
def test_symlinks_the_server_restricts(pair, place):
    links = {"to-file.bin": "../target/file.bin", "to-dir": "../target", "inside.bin": "file.bin"}
    for name, target in links.items():
        (pair.root / place / name).symlink_to(target)
    if os.geteuid() == 0:
        mkdir(pair.root / place / "foreign")
        foreign = pair.root / place / "foreign/link.bin"
        foreign.symlink_to("../file.bin")
        os.chown(foreign, 65534, 65534, follow_symlinks=False)
    for _ in range(3):
        for name in ("file.bin", "to-file.bin", "to-dir/file.bin", "inside.bin", "foreign/link.bin"):
            pair.same(f"/{place}/{name}")
        pair.same("/target/file.bin")


def test_dot_files(pair):
    for _ in range(2):
        pair.same("/dot/.hidden")
        pair.same("/dot/file.bin")


def test_htaccess(pair):
    if pair.kind == "nginx":
        for _ in range(2):
            pair.same("/htaccess/file.bin")
        return
    name, rules = "/htaccess/file.bin", pair.root / "htaccess/.htaccess"
    pair.warm(name)
    pair.put("htaccess/.htaccess", b"Require all denied\n")
    assert pair.same(name).status == 403
    pair.put("htaccess/.htaccess", f"{BASIC}\nRequire valid-user\n".replace("@ROOT@", str(pair.root)).encode())
    assert pair.same(name).status == 401
    assert pair.hit(name, ANN).status == 200
    pair.put("htaccess/.htaccess", b"Header set X-From htaccess\nForceType text/x-odd\nFileETag None\n")
    reply = pair.hit(name)
    assert (reply.header("X-From"), reply.header("Content-Type"), reply.header("ETag")) == ("htaccess", "text/x-odd", None)
    pair.put("htaccess/.htaccess", b"RewriteEngine on\nRewriteRule file.bin /open/basic.bin\n")
    pair.same(name)
    pair.put("htaccess/.htaccess", b"Nonsense\n")
    assert pair.same(name).status == 500
    rules.unlink()
    assert pair.hit(name).status == 200
    pair.same("/htaccess/.htaccess")


def test_warm_file_becomes_unreadable_to_the_server(pair):
    pair.warm("/open/file.bin")
    os.chmod(pair.root / "open/file.bin", 0)
    time.sleep(0.3)
    assert pair.same("/open/file.bin").status == 403
    os.chmod(pair.root / "open/file.bin", 0o644)
    time.sleep(0.3)
    assert eventually(lambda: pair.same("/open/file.bin").status == 200)
