"""What an operator sees: Prometheus metrics, freshness, and each stage against its objective.

May import `store`. Invariant: no freshness metric understates; unknown is never shown as good."""
