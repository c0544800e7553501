# SPDX-License-Identifier: Apache-2.0
"""afpactl warm: files, trees, lists, URLs; what is skipped and why; progress; interrupts."""
import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tool import DONE, MIB, NO_ZONE, NOT_SO, SECONDS, WARM, Terminal, command, died_by, environment, put, run, wrong
from wire import eventually


def files(directory):
    return sorted(str(one) for one in directory.rglob("*") if one.is_file())


def test_fields(zone, site):
    result = zone.run("--json", "warm", site, "/not/there")
    result.complains(NOT_SO, "/not/there: not_found")
    assert wrong(result.json, WARM) == [], f"expected every field, of its type: {result}"
    assert result.json["files"] == 4 and result.json["bytes"] == sum(os.stat(one).st_size for one in files(site)), \
        "expected the site"
    assert result.json["skipped"] == {"not_found": 1}, f"expected the reason: {result}"


def test_for_people(zone, site):
    text = zone.run("warm", site).done().text
    assert re.fullmatch(r"warmed 4 files, 576\.0 KB in \d+\.\d\d s\n", text), f"expected one line: {text}"
    text = zone.run("warm", site / "empty").done().text
    assert re.fullmatch(r"warmed 1 file, 0 B in \d+\.\d\d s\n", text), f"expected one file: {text}"


@pytest.mark.parametrize("name,size", [("empty", 0), ("small.txt", 10), ("chunk.bin", 65536), ("sub/large.bin", MIB // 2 + 1)])
def test_file(zone, site, name, size):
    result = zone.warm(site / name)
    assert (result["files"], result["bytes"], result["skipped"]) == (1, size, {}), f"expected the file: {result}"
    assert zone.paths() == [f"{site}/{name}"], "expected it to be cached"
    zone.run("verify", "--content").done()


def test_again(zone, site):
    """What is there already is counted, and not read again."""
    for _ in range(2):
        assert zone.warm(site)["files"] == 4, "expected all files each time"
    assert zone.json("stat")["fills"] == 12, "expected each chunk to be read once"


def test_changed_file(zone, site):
    path = site / "small.txt"
    zone.warm(path)
    put(path, b"other content")
    assert zone.warm(path)["bytes"] == 13, "expected the new size"
    assert zone.json("show", path)["size"] == 13, "expected the new file"
    zone.run("verify", "--content").done()


@pytest.mark.parametrize("given", ["site", "./site", "site/", "site//", "site/.", "site/sub/.."])
def test_spellings(zone, site, given):
    assert zone.run("--json", "warm", given, cwd=site.parent).done().json["files"] == 4, "expected the tree"
    assert zone.paths() == files(site), "expected absolute names, folded"


EXACT = {  # behind the directory; the keys of a tree are those of a server with that root, whose one slash at the end does not count
    "": "/small.txt", "/": "/small.txt", "//": "//small.txt", "/sub/..": "/sub/../small.txt", "/.": "/./small.txt",
    "//small.txt": "//small.txt", "/sub/../small.txt": "/sub/../small.txt",
}


@pytest.mark.parametrize("option", ["--exact", "-x"])
@pytest.mark.parametrize("given", EXACT)
def test_exact(zone, site, given, option):
    (site / "sub/large.bin").unlink()
    (site / "chunk.bin").unlink()
    (site / "empty").unlink()
    assert zone.json("warm", option, f"{site}{given}")["files"] == 1, "expected the file"
    assert zone.paths() == [f"{site}{EXACT[given]}"], "expected the key as it is spelled"
    zone.run("purge", "--all").done()
    assert zone.run("--json", "warm", option, "-", stdin=os.fsencode(f"{site}{given}")).done().json["files"] == 1
    assert zone.paths() == [f"{site}{EXACT[given]}"], "expected the same of a list"
    zone.run("purge", "--all").done()
    assert zone.json("warm", f"{site}{given}")["files"] == 1, "expected the file without the option"
    assert zone.paths() == [f"{site}/small.txt"], "expected it folded then"


def test_exact_relative(zone, site):
    """No server spells a path so, so there is nothing to keep."""
    assert zone.run("--json", "warm", "-x", "sub/../small.txt", "./empty", cwd=site).done().json["files"] == 2
    assert zone.paths() == [f"{site}/empty", f"{site}/small.txt"], "expected them folded"


def test_directory_that_is_gone(zone, tmp_path):
    """A relative name in it means nothing; least of all one in the root directory."""
    (tmp_path / "gone").mkdir()
    for args in (["warm", "etc/passwd"], ["purge", "etc/passwd"], ["show", "etc/passwd"], ["list", "etc/p*"]):
        script = 'rmdir "$PWD"; exec "$@"'
        (tmp_path / "gone").mkdir(exist_ok=True)
        zone.run(*args, cwd=tmp_path / "gone", prefix=["sh", "-c", script, "sh"]).fails(NOT_SO, "the current directory: No such file")
    assert zone.paths() == [], "expected nothing to be loaded"


def test_several(zone, site, tmp_path):
    other = put(tmp_path / "other")
    assert zone.warm(site / "sub", site / "empty", other)["files"] == 3, "expected all operands"
    assert zone.paths() == sorted([str(other), f"{site}/empty", f"{site}/sub/large.bin"])


def test_no_directories_and_hidden_files(zone, tmp_path):
    tree = tmp_path / "tree"
    (tree / "nothing/in/it").mkdir(parents=True)
    assert zone.warm(tree)["files"] == 0, "expected nothing in empty directories"
    put(tree / ".hidden/.file")
    put(tree / "..." / "..file")
    assert zone.warm(tree)["files"] == 2, "expected hidden files too"


def test_deep_tree(zone, tmp_path):
    path = tmp_path.joinpath(*["d"] * 200)
    put(path / "file")
    assert zone.warm(tmp_path)["files"] == 1, "expected the file 200 directories down"


@pytest.mark.seconds(30)
def test_many_files(make, tmp_path):
    """More than a batch of names, several threads."""
    zone = make("16m")
    for index in range(700):
        put(tmp_path / f"d{index % 7}" / f"f{index}", b"%d" % index)
    result = zone.json("warm", "-j", "4", tmp_path)
    assert (result["files"], result["skipped"]) == (700, {}), f"expected all: {result}"
    assert zone.paths() == files(tmp_path), "expected every file"
    zone.run("verify", "--content").done()


@pytest.mark.parametrize("jobs", [["-j", "1"], ["-j64"], ["--jobs=3"], []], ids=lambda jobs: " ".join(jobs) or "default")
def test_jobs(zone, site, jobs):
    assert zone.json("warm", *jobs, site)["files"] == 4, "expected the same with any number of threads"


# ---- skipped ----

SIZES = {  # options, files of the site that are loaded, reasons of the others
    "": (4, {}),
    "--min-size 1": (3, {"min_size": 1}),
    "-m 11": (2, {"min_size": 2}),
    "--min-size=64k": (2, {"min_size": 2}),
    "--max-size 64k": (3, {"max_size": 1}),
    "-M 65535": (2, {"max_size": 2}),
    "-M 0": (1, {"max_size": 3}),
    "-m 1 -M 10": (1, {"max_size": 2, "min_size": 1}),
    "-m 1g": (0, {"min_size": 4}),
}


@pytest.mark.parametrize("options", SIZES)
def test_sizes(zone, site, options):
    result = zone.json("warm", *options.split(), site)
    assert (result["files"], result["skipped"]) == SIZES[options], f"expected these: {result}"


def test_sizes_of_what_was_asked_for(zone, site):
    """A file named on the command line that is not loaded is a failure; one in a tree is not."""
    zone.run("warm", "-m", "11", site / "small.txt").complains(NOT_SO, f"{site}/small.txt: min_size: smaller than")
    zone.run("warm", "-m", "11", site).done()


def test_reasons_for_people(zone, site):
    text = zone.run("warm", "-m", "1", "-M", "10", site).done().text
    assert text.endswith("; skipped 3: max_size 2, min_size 1\n"), f"expected the reasons, most frequent first: {text}"


def test_verbose(zone, site):
    ended = zone.run("warm", "--verbose", "-m", "11", site)
    assert ended.status == DONE, f"expected no failure: {ended}"
    assert sorted(ended.err.decode().splitlines()) == [f"afpactl: {site}/empty: min_size: smaller than min_size",
                                                       f"afpactl: {site}/small.txt: min_size: smaller than min_size"], \
        "expected a message for each that was skipped"


def test_messages_are_limited(zone, tmp_path):
    missing = [f"{tmp_path}/missing{index}" for index in range(30)]
    ended = zone.run("warm", *missing)
    lines = ended.err.decode().splitlines()
    assert ended.status == NOT_SO and len(lines) == 21, f"expected 20 messages and one more: {lines}"
    assert lines[20] == "afpactl: more was skipped; --verbose tells all of it", f"expected a word of the rest: {lines}"
    assert ended.text.endswith("; skipped 30: not_found 30\n"), f"expected all in the summary: {ended}"
    assert len(zone.run("warm", "-v", *missing).err.splitlines()) == 30, "expected all with --verbose"


def special(directory, name):
    """Makes what is no regular file."""
    path = directory / name
    if name == "fifo":
        os.mkfifo(path)
    elif name == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(directory)  # the name of a socket is short
            listener.bind(name)
            os.chdir("/")
    elif name == "dangling":
        path.symlink_to("missing")
    elif name == "loop":
        path.symlink_to("loop")
    elif name == "to-device":
        path.symlink_to("/dev/null")
    elif name == "up":
        path.symlink_to("..")
    elif name == "self":
        path.symlink_to(".")
    return path


SPECIAL = {  # in a tree it is skipped for this reason; asked for by name it is a failure for that
    "fifo": ("not_regular", "not_regular"), "socket": ("not_regular", "not_regular"), "to-device": ("not_regular", "not_regular"),
    "dangling": ("not_found", "not_found"), "loop": ("loop", "loop"),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_no_regular_file(zone, site, name):
    path = special(site, name)
    found, asked = SPECIAL[name]
    result = zone.json("warm", site)
    assert (result["files"], result["skipped"]) == (4, {found: 1}), f"expected the others: {result}"
    zone.run("warm", path).complains(NOT_SO, f"{path}: {asked}")
    assert sorted(zone.paths()) == [one for one in files(site) if one != str(path)], "expected the others"


def test_device(zone):
    zone.run("warm", "/dev/zero").complains(NOT_SO, "/dev/zero: not_regular")


def test_links_are_followed(zone, site, tmp_path):
    """As servers follow them, and under the link's name."""
    put(tmp_path / "elsewhere/file")
    (site / "directory").symlink_to("../elsewhere")
    (site / "name").symlink_to("small.txt")
    assert zone.warm(site)["files"] == 6, "expected what links lead to"
    assert {f"{site}/directory/file", f"{site}/name"} <= set(zone.paths()), "expected their names"


@pytest.mark.parametrize("name", ["up", "self"])
def test_link_back(zone, site, name):
    special(site, name)
    special(site / "sub", name)
    result = zone.json("warm", site)
    assert result["files"] >= 4 and set(result["skipped"]) == {"loop"}, f"expected the loop to be left out: {result}"
    assert set(files(site)) <= set(zone.paths()), "expected every file"


@pytest.mark.seconds(20)
def test_links_that_multiply(zone, tmp_path):
    """Two directories full of links into each other: an end comes all the same."""
    for one, other in (("a", "b"), ("b", "a")):
        put(tmp_path / one / "file")
        for index in range(3):
            (tmp_path / one / f"link{index}").symlink_to(f"../{other}")
    result = zone.json("warm", tmp_path)
    assert result["files"] >= 2 and result["skipped"]["loop"] >= 6, f"expected an end: {result}"


LONG = "n" * 250


def test_long_names(zone, tmp_path):
    """Longer than a path can be: skipped, and the rest is loaded."""
    put(tmp_path / "short")
    depth = 0
    os.chdir(tmp_path)
    while depth < 17:
        os.mkdir(LONG)
        os.chdir(LONG)
        depth += 1
    with open("file", "w"):
        pass
    os.chdir("/")
    result = zone.run("--json", "warm", tmp_path)
    assert result.json["files"] == 1, f"expected the short name: {result}"
    assert set(result.json["skipped"]) == {"path"} and result.status == NOT_SO, f"expected a reason: {result}"
    zone.run("warm", "/" + "/".join([LONG] * 20)).complains(NOT_SO, "path")


@pytest.fixture
def others_zone(make):
    """A zone of another user, for root; else one's own."""
    return make(options=["--owner", "nobody"] if os.geteuid() == 0 else [])


def test_rights_of_the_owner(others_zone, open_directory):
    """Root's private files do not get into the cache of a server that may not read them."""
    secret, public = put(open_directory / "tree/secret"), put(open_directory / "tree/public")
    secret.chmod(0o600 if os.geteuid() == 0 else 0)
    (open_directory / "tree/closed").mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    result = others_zone.run("--json", "warm", open_directory / "tree")
    assert result.json["files"] == 1 and result.json["skipped"] == {"permission": 2}, f"expected what may be read: {result}"
    assert result.status == NOT_SO, f"expected this to be told by the status: {result}"
    others_zone.run("warm", secret).complains(NOT_SO, f"{secret}: permission: the file may not be read")
    assert others_zone.paths() == [str(public)], "expected the public file alone"
    (open_directory / "tree/closed").chmod(0o700)


def test_list_is_read_with_own_rights(others_zone, open_directory, site):
    """The list may be private; the files it names may not."""
    public, listed = put(open_directory / "public"), put(open_directory / "list")
    listed.write_text(f"{public}\n")
    listed.chmod(0o600)
    assert others_zone.run("--json", "restore", listed).done().json["files"] == 1, "expected the list to be read"


# ---- lists ----

LISTS = {  # standard input, for names a, b and "c d"; what is loaded
    "lines": (b"%s/a\n%s/b\n", [], 2),
    "no end": (b"%s/a\n%s/b", [], 2),
    "empty lines": (b"\n\n%s/a\n\n%s/b\n\n", [], 2),
    "blanks": (b"%s/c d\n%s/a\n", [], 2),
    "twice": (b"%s/a\n%s/a\n", [], 2),
    "NUL": (b"%s/a\0%s/b\0", ["-0"], 2),
    "NUL long": (b"%s/a\0%s/b", ["--null"], 2),
    "newline in a name": (b"%s/e\nf\0%s/a\0", ["-0"], 2),
}


@pytest.mark.parametrize("label", LISTS)
def test_list(zone, tmp_path, label):
    for name in ("a", "b", "c d", "e\nf"):
        put(tmp_path / name)
    text, options, count = LISTS[label]
    given = text.replace(b"%s", os.fsencode(tmp_path))
    assert zone.run("--json", "warm", *options, "-", stdin=given).done().json["files"] == count, "expected the files of the list"


def test_empty_list(zone):
    assert zone.run("--json", "warm", "-").done().json["files"] == 0, "expected nothing to do"


def test_list_and_operands(zone, site):
    result = zone.run("--json", "warm", site / "empty", "-", site / "sub", stdin=os.fsencode(site / "small.txt"))
    assert result.done().json["files"] == 3, f"expected both: {result}"


def test_list_names_directories_and_relative_paths(zone, site):
    result = zone.run("--json", "warm", "-", stdin=b"sub\n./empty\n", cwd=site)
    assert result.done().json["files"] == 2, f"expected a directory and a file: {result}"


def test_list_that_cannot_be_read(zone, site, tmp_path):
    """What stands before the error is loaded; the error shows."""
    directory = os.open(tmp_path, os.O_RDONLY)
    process = zone.start("--json", "warm", site / "empty", "-", stdin=directory)
    os.close(directory)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == NOT_SO and err == b"afpactl: standard input: Is a directory\n", f"expected the reason: {err}"
    assert b'"files": 1,' in out, f"expected the other operand to be loaded: {out}"


def test_list_of_nonsense(zone, site):
    """Whatever is in a list, it is named, harmlessly."""
    given = b"\x1b[2J\n\xff\xfe\n" + b"x" * 9000 + b"\n" + bytes(range(1, 10)) + b"\n" + os.fsencode(site / "empty") + b"\n"
    ended = zone.run("--json", "warm", "-", stdin=given, cwd=site)
    assert ended.status == NOT_SO and ended.json["files"] == 1, f"expected the one that is there: {ended.json}"
    assert b"\x1b" not in ended.err and b"\xff" not in ended.err, "expected no bare control characters"
    assert all(line.startswith(b"afpactl: ") for line in ended.err.splitlines()), f"expected messages: {ended}"


# ---- URLs ----

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"], self.headers["User-Agent"]))
        status = int(self.path[1:4]) if re.match(r"/\d{3}", self.path) else 200
        body = b"" if self.path.startswith("/empty") else b"hello" * 1000
        if self.path == "/nothing":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    """A web server; its address, and what it was asked for."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


URLS = {  # behind the address, what the server is asked for
    "/index.html": "/index.html",
    "": "/",
    "/": "/",
    "/a?b=c&d": "/a?b=c&d",
    "?query": "/?query",
    "/page#part": "/page",
    "/%20x": "/%20x",
}


@pytest.mark.parametrize("path", URLS)
def test_url(zone, server, path):
    server.asked.clear()
    result = zone.run("--json", "warm", server.url + path).done().json
    assert result["files"] == 1 and result["bytes"] > 5000, f"expected the reply to be read: {result}"
    [(asked, host, agent)] = server.asked
    assert (asked, host) == (URLS[path], f"127.0.0.1:{server.server_port}"), "expected this request"
    assert agent.startswith("afpactl/"), f"expected its name: {agent}"


def test_url_in_capitals(zone, server):
    assert zone.run("--json", "warm", f"HTTP://localhost:{server.server_port}/x").done().json["files"] == 1


@pytest.mark.parametrize("status", [404, 403, 500, 301, 206])
def test_url_with_another_status(zone, server, status):
    ended = zone.run("--json", "warm", f"{server.url}/{status}")
    assert ended.complains(NOT_SO, f"/{status}: http_{status}").json["skipped"] == {f"http_{status}": 1}, \
        f"expected the status: {ended}"


def unused_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


BAD_URLS = {
    "http://": "bad_url", "http://:80/": "bad_url", "http:///x": "bad_url", "http://127.0.0.1/a b": "bad_url",
    "http://" + "h" * 300 + "/": "bad_url", "https://127.0.0.1/": "https", "http://127.0.0.1:UNUSED/": "unreachable",
    "http://127.0.0.1:99999/": "unreachable", "http://[::1/": "bad_url",
}


@pytest.mark.parametrize("url", BAD_URLS, ids=[str(index) for index in range(len(BAD_URLS))])
def test_bad_url(zone, url):
    given = url.replace("UNUSED", str(unused_port()))
    ended = zone.run("--json", "warm", given)
    assert ended.complains(NOT_SO, BAD_URLS[url]).json["skipped"] == {BAD_URLS[url]: 1}, f"expected the reason: {ended}"


def test_url_without_a_reply(zone, server):
    ended = zone.run("--json", "warm", f"{server.url}/nothing")
    assert ended.complains(NOT_SO, "no_reply").json["skipped"] == {"no_reply": 1}, f"expected the reason: {ended}"


def test_urls_and_files(zone, server, site):
    given = f"{server.url}/1\n{site}/empty\n{server.url}/2\n".encode()
    assert zone.run("--json", "warm", "-", site / "sub", stdin=given).done().json["files"] == 4, "expected both kinds"


# ---- disabled ----

def test_disabled_zone(zone, site):
    zone.run("disable").done()
    ended = zone.run("--json", "warm", site)
    ended.complains(NOT_SO, zone.name, "disabled", "afpactl enable")
    assert (ended.json["files"], zone.paths()) == (0, []), f"expected nothing to be loaded: {ended}"


# ---- progress ----

def test_progress_on_a_terminal(zone, site):
    terminal = Terminal()
    process = zone.start("warm", "-", stderr=terminal.theirs)
    process.stdin.write(f"{site}\n".encode())
    process.stdin.flush()
    assert eventually(lambda: b"4 of 4+ files" in terminal.output, 10, 0.01), f"expected the count to go on: {terminal.output}"
    out = process.communicate(f"{site}/missing\n".encode(), timeout=SECONDS)[0]
    drawn = terminal.end().replace(b"\r\n", b"\n")
    assert process.returncode == NOT_SO and out.startswith(b"warmed 4 files, "), f"expected the summary on stdout: {out}"
    assert re.search(rb"\r\[[#.]{24}\] 4 of 4\+ files, 576\.0 KB, [0-9.]+ [KMG]?B/s\x1b\[K", drawn), f"expected a bar: {drawn}"
    assert b"\r\x1b[Kafpactl: " in drawn, f"expected the bar to give way to a message: {drawn}"
    assert drawn.endswith(b"\r\x1b[K") or drawn.endswith(b": no such file\n"), f"expected no bar to be left: {drawn}"


def test_no_progress_elsewhere(zone, site):
    assert zone.run("warm", site).done().err == b"", "expected a clean stderr when it is no terminal"


def test_no_progress_where_only_output_is_a_terminal(zone, site):
    terminal = Terminal()
    process = subprocess.Popen(command("-z", zone.path, "warm", site), stdout=terminal.theirs, stderr=subprocess.PIPE,
                               env=environment())
    err = process.communicate(timeout=SECONDS)[1]
    assert err == b"" and b"\x1b" not in terminal.end(), f"expected the summary alone: {err}"


# ---- interrupts ----

@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupt(zone, site, how):
    """Half-way through a list: the summary comes all the same, nothing stays behind, and it ends by the signal."""
    process = zone.start("warm", "-")
    process.stdin.write(f"{site}\n".encode())
    process.stdin.flush()
    assert eventually(lambda: len(zone.json("list")) == 4, 10, 0.01), "expected the first part to be loaded"
    process.send_signal(how)
    out, err = process.communicate(f"{site}\n".encode() * 1000, timeout=SECONDS)
    assert died_by(process.returncode, how), f"expected to end by {how}: {process.returncode}, {err}"
    assert out.startswith(b"warmed 4 files, ") and err == b"", f"expected the summary: {out}, {err}"
    stat = zone.json("stat")
    assert (stat["owners"], stat["pins"]) == ([], 0), f"expected nothing to be left: {stat}"
    zone.run("verify", "--content").done()


def test_not_stopped_by_a_terminal(zone, site):
    """Whoever is stopped with a lock in hand stops every server.  The moment is hard to hit, so this looks whether the signals are
    blocked, in each thread."""
    process = zone.start("warm", "-")
    process.stdin.write(f"{site}\n".encode())
    process.stdin.flush()
    assert eventually(lambda: len(zone.json("list")) == 4, 10, 0.01), "expected the first part to be loaded"
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        blocked = int(re.search(r"SigBlk:\s*(\w+)", status.read_text()).group(1), 16)
        for how in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            assert blocked >> (how - 1) & 1, f"expected {how} to be blocked"
    process.communicate(timeout=SECONDS)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_end_while_loading(make, tmp_path, how):
    """At moments of chance, while files are read: the zone is sound, and can be used."""
    zone = make("16m")
    for index in range(24):
        put(tmp_path / f"{index:02}", bytes([index]) * 300000)
    for moment in range(8):
        process = zone.start("warm", "-j4", tmp_path)
        time.sleep(moment * 0.003)
        process.send_signal(how)
        process.communicate(timeout=SECONDS)
        assert process.returncode in (-how, DONE), f"expected it to end by {how}: {process.returncode}"
        if how == signal.SIGINT:
            assert zone.json("stat")["pins"] == 0, "expected no pins to be left"
        assert zone.run("verify", "--content").done().lines == ["ok"]
        zone.run("purge", "--all").done()
    assert zone.warm(tmp_path)["files"] == 24, "expected the zone to go on"


def test_zone_is_removed_meanwhile(zone, site):
    """It goes on with what it has mapped, and ends well."""
    process = zone.start("warm", "-")
    assert eventually(lambda: zone.json("stat")["owners"], 10, 0.01), "expected it in the zone"
    zone.run("destroy", "--force").done()
    out, err = process.communicate(f"{site}\n".encode(), timeout=SECONDS)
    assert process.returncode == DONE and err == b"", f"expected no harm: {process.returncode}, {err}"
    run("-z", zone.path, "stat").fails(NO_ZONE)
