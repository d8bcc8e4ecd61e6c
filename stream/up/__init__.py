"""Everything on one machine: broker, worker and trainer as processes, and a supervisor that watches over them.

May import `store` and `stream.kafka`. Invariants: a data folder has one supervisor; no process is ever ended that
this system did not start; what is announced as ready is this system's own."""
