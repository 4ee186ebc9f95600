"""apalis: Rust, over PostgreSQL, over SQLite, and over Redis that syncs every write."""

import rust
from peer import Peer

STORES = {
    "postgres": "PostgreSQL, told by `NOTIFY`; batches of 64",
    "sqlite": "SQLite, write-ahead log, `synchronous = FULL`, one connection, told by its update hook; batches of 64",
    "redis": "Redis, `appendfsync always`, told by publish and subscribe; batches of 64; 7,000 drained",
}
# Jobs that are due are promoted by one call of a script, which fails from 8,000 on ("too many results to unpack").
MOST = {"redis": 7_000}

PEERS = [
    Peer(
        f"apalis_{store}",
        "apalis",
        rust.version(f"apalis-{store}"),
        store,
        settings,
        rust.installer(f"apalis_{store}"),
        rust.command(f"apalis_{store}", MOST.get(store)),
    )
    for store, settings in STORES.items()
]
