# SPDX-License-Identifier: Apache-2.0
"""The benchmark's modules; they use those that the tests of servers are made of."""
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests" / "server"))
