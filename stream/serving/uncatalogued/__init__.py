"""What rows say of items that have no card: kept aside, out of what answers, until the card comes.

May import what `stream.serving` may. Invariant: what is kept is bounded, however many such items there are."""
