"""What the script knows of one peer: each file of a peer fills one in, and `run` measures it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Everything that is installed or written, none of it in the repository.
TARGET = ROOT / "target" / "peers"

# Each figure by the name that the measuring programs give it, its unit, and what it says.
FIGURES = {
    "single": ("jobs/s", "single submits by 64 callers, to the last recorded end"),
    "drain": ("jobs/s", "drain of a queue, from the first start to the last recorded end"),
    "p50": ("ms", "submit to the first line of the handler at 100 a second, p50"),
    "p99": ("ms", "the same, p99"),
}


class Gap(Exception):
    """Why a peer cannot be measured here. Said in its row; no figure takes its place."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured: jobs drained, single jobs, seconds of latencies, and how often all of it."""

    drained: int
    singles: int
    seconds: int
    rounds: int


@dataclass(frozen=True)
class Peer:
    name: str  # On the command line.
    title: str
    version: str
    store: str  # "redis", "postgres" or "sqlite".
    settings: str  # In the table: what is not as installed, and how it is durable.
    install: Callable[[], None]  # Raises Gap.
    command: Callable[[str, Sizes], list[str]]  # Of the address of its store; prints "FIGURE VALUE" lines.
