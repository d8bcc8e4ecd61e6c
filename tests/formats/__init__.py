"""What earlier releases wrote: rows, logs and records that every later release must read."""
