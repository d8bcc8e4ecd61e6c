"""An embedded, single-node broker that speaks the Kafka protocol: for the demo, tests and development.

    broker = Broker("data-dir", port=0)
    await broker.start()
    ...  # any Kafka client, bootstrap_servers=broker.address
    await broker.stop()

`python -m stream.broker --data-dir D --port P` runs it alone. It does no replication, no transactions, no access
control, and listens on 127.0.0.1 only; from a second machine on, use real Kafka. See `docs/broker.md`.

May import `store` (its files). Invariant: what was acknowledged is there after a kill of the process.
"""

from stream.broker.errors import DataDirInUseError
from stream.broker.server import Broker

__all__ = ["Broker", "DataDirInUseError"]
