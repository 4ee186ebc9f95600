"""graphile_worker: Rust, over PostgreSQL."""

import rust
from peer import Peer

PEERS = [
    Peer(
        "graphile_worker",
        "graphile_worker",
        rust.version("graphile_worker"),
        "postgres",
        "PostgreSQL; 64 at work, local queue of 500, ends in batches of 5 ms",
        rust.installer("graphile_worker"),
        rust.command("graphile_worker"),
    )
]
