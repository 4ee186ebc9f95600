"""BullMQ: Node, over Redis that syncs every write."""

import json
import shutil
from urllib.parse import urlsplit

from install import debian, run
from peer import HERE, TARGET, Peer

PROGRAM = HERE / "node"
PLACE = TARGET / "node"
VERSION = json.loads((PROGRAM / "package.json").read_text())["dependencies"]["bullmq"]


def install():
    debian("npm", "nodejs", "npm")
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "bullmq.js"):
        shutil.copy(PROGRAM / name, PLACE)
    run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=PLACE)


def command(address, sizes):
    port = urlsplit(address).port
    return ["node", str(PLACE / "bullmq.js"), str(port), str(sizes.drained), str(sizes.singles), str(sizes.seconds)]


PEERS = [
    Peer(
        "bullmq",
        "BullMQ",
        VERSION,
        "redis",
        "Redis, `appendfsync always`; 64 at work",
        install,
        command,
    )
]
