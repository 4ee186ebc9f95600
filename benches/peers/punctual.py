"""Punctual itself in the same session, as `cargo bench` measures it: a ratio is worth something on one machine only.

Its callers wait for the end of each run before they ask for the next; those of the peers wait only for their submits.
"""

import json
import tomllib

from install import run
from peer import ROOT, TARGET

NAME = "punctual"
TITLE = "Punctual"
SETTINGS = "embedded, as it comes: each acceptance, start and end synced; callers wait for each end"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def measure(sizes):
    """All rounds of each figure. A quick bench is one round of the smaller sizes, which the peers' are taken from."""
    rounds = {"single": [], "drain": [], "p50": [], "p99": []}
    rows = TARGET / "punctual.jsonl"
    for _ in range(sizes.rounds):
        command = ["cargo", "bench", "-j1", "--", "submit", "drain", "wake", "--quick", "--json", str(rows)]
        run(command, cwd=ROOT)
        figures = [json.loads(line) for line in rows.read_text().splitlines()[1:]]
        rounds["single"].append(at_size(figures, 1, "runs by 64 callers", sizes.singles))
        rounds["drain"].append(at_size(figures, 4, "drain of waiting runs", sizes.drained))
        rounds["p50"].append(at_size(figures, 5, "p50", 0))
        rounds["p99"].append(at_size(figures, 5, "p99", 0))
    return rounds


def at_size(figures, figure, what, size):
    """At the smallest measured size that is no smaller than the peers', else at the largest."""
    found = [row for row in figures if row["figure"] == figure and what in row["what"]]
    found.sort(key=lambda row: row["size"])
    return next((row for row in found if row["size"] >= size), found[-1])["median"]
