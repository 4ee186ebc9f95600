"""apalis: Rust, over PostgreSQL, over SQLite, and over Redis that syncs every write."""

import rust
from peer import Peer

STORES = {
    "postgres": "PostgreSQL, told by `NOTIFY`; batches of 64",
    "sqlite": "SQLite, write-ahead log, `synchronous = FULL`, one connection, told by its update hook; batches of 64",
    "redis": "Redis, `appendfsync always`, told by publish and subscribe; batches of 64",
}

PEERS = [
    Peer(
        f"apalis_{store}",
        "apalis",
        rust.version(f"apalis-{store}"),
        store,
        settings,
        rust.installer(f"apalis_{store}"),
        rust.command(f"apalis_{store}"),
    )
    for store, settings in STORES.items()
]
