# SPDX-License-Identifier: Apache-2.0
"""Rounds for which a server is started alone: the servers take turns, in an order that changes each round, as in the matrix."""
import random

from child import StartFailed

from bench.load import LoadFailed


def in_turns(session, kinds, work, data, count, one_round, before=lambda: None):
    """{server's name: what one_round(server) gave, `count` times}.  `before` is called before each start.  A server that cannot be started or
    measured has its cell say why, and no further turn."""
    from bench.matrix import say
    cells, rounds = data["cells"][work.name], {}
    order = random.Random(session.options.seed)
    left = [kind for kind in kinds if not kind.refuses(work)]
    cells.update({kind.name: {"absent": kind.refuses(work)} for kind in kinds if kind not in left})
    for _ in range(count):
        for kind in order.sample(left, len(left)):
            before()
            servers = session.start([kind], data)
            try:
                if servers:
                    rounds.setdefault(kind.name, []).append(one_round(servers[0]))
                    continue
                reason = data["servers"][kind.name].get("absent", "did not start")
            except (LoadFailed, StartFailed, OSError, ValueError, IndexError, AssertionError) as error:
                reason = f"failed: {str(error)[:300]}"
                say(f"  {kind.name}: {reason}")
            finally:
                for server in servers:
                    server.close()
            cells[kind.name] = {"absent": reason}
            rounds.pop(kind.name, None)
            left.remove(kind)
    return rounds
