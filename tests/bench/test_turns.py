# SPDX-License-Identifier: Apache-2.0
"""Servers that are measured one at a time take turns."""
from types import SimpleNamespace

from bench.load import LoadFailed
from bench.turns import in_turns

ROUNDS = 6


class Kind:
    def __init__(self, name, refusal=""):
        self.name, self.refusal = name, refusal

    def refuses(self, _work):
        return self.refusal


class Session:
    """Starts what it is asked for, but "absent"; notes what was running, which has to be one at a time."""
    options = SimpleNamespace(seed=1)

    def __init__(self):
        self.started, self.running = [], 0

    def start(self, kinds, data):
        (kind,) = kinds
        if kind.name == "absent":
            data["servers"][kind.name] = {"absent": "is not installed"}
            return []
        assert self.running == 0
        self.running += 1
        self.started.append(kind.name)
        return [SimpleNamespace(name=kind.name, close=self.close)]

    def close(self):
        self.running -= 1


def test_turns():
    session, data = Session(), {"servers": {}, "cells": {"it": {}}}
    before = []

    def one_round(server):
        if server.name == "failing" and session.started.count("failing") == 3:
            raise LoadFailed("no reply at all")
        return session.started.count(server.name)

    kinds = [Kind("a"), Kind("b"), Kind("failing"), Kind("absent"), Kind("unfit", "has no files")]
    rounds = in_turns(session, kinds, SimpleNamespace(name="it"), data, ROUNDS, one_round, lambda: before.append(session.running))
    assert rounds == {"a": [1, 2, 3, 4, 5, 6], "b": [1, 2, 3, 4, 5, 6]}, "expected all rounds of those that can, and none of the others"
    assert data["cells"]["it"] == {"failing": {"absent": "failed: no reply at all"}, "absent": {"absent": "is not installed"},
                                   "unfit": {"absent": "has no files"}}
    assert session.started.count("failing") == 3 and session.running == 0 and not any(before)
    halves = [tuple(session.started[i:i + 2]) for i in range(9, 15, 2)]  # from the fourth round on, two are left
    assert all(sorted(half) == ["a", "b"] for half in halves), "expected one turn each per round"
    assert len({tuple(session.started[i:i + 3]) for i in (0, 3, 6)}) > 1, "expected another order"
