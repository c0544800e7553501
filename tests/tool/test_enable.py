# SPDX-License-Identifier: Apache-2.0
"""afpactl disable and enable: the switch, and that what is cached stays."""
import re

from tool import NOT_SO


def test_switch(zone, site):
    zone.warm(site)
    for _ in range(2):  # again changes nothing
        for command, on in (("disable", False), ("disable", False), ("enable", True), ("enable", True)):
            assert zone.run(command).done().out == b"", "expected no word"
            assert zone.json("stat")["enabled"] is on, f"expected it in stat after {command}"
            text = zone.run("stat").done().text
            assert re.search(r"^  enabled: (yes|no),", text, re.M)[1] == ("yes" if on else "no"), f"expected it in words: {text}"
    assert len(zone.paths()) == 4, "expected the objects to stay"
    zone.run("verify", "--content").done()


def test_json(zone):
    assert zone.json("disable") == {"zone": zone.name, "enabled": False}
    assert zone.json("enable") == {"zone": zone.name, "enabled": True}


def test_what_goes_on_in_a_disabled_zone(zone, site):
    """Looking is possible; loading, and comparing content, is not."""
    zone.warm(site)
    zone.run("disable").done()
    for command in (["stat"], ["list"], ["show", site / "empty"], ["dump"], ["verify"]):
        zone.run(*command).done()
    zone.run("warm", site).complains(NOT_SO, zone.name, "disabled")
    zone.run("verify", "--content").complains(NOT_SO, zone.name, "disabled")
    result = zone.run("--json", "verify", "--content")
    assert result.complains(NOT_SO).json["ok"] is False, f"expected no claim that it is sound: {result}"


def test_while_a_process_uses_it(zone, site, holder):
    process = holder(zone, site / "small.txt")
    zone.run("disable").done()
    assert zone.json("stat")["pins"] > 0, "expected it to keep what it holds"
    assert process.end() == 0
    zone.run("enable").done()
    assert zone.json("stat")["pins"] == 0
    zone.verified()
