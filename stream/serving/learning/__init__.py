"""Learning: what a worker that absorbs and answers nothing keeps of all items, and what it tells of itself.

Of what scorers keep it needs the cards (codes, and whether an item is known), the vectors that owners publish (the next
step of a vector starts from those of others), and the codebook that serves; no transitions, no popularity, no model.

May import `store`, `trainer`, `trainer.items`, `trainer.semantic_ids`, `stream.kafka`, `stream.metrics`,
`stream.ingest` and what `stream.serving` has beside it. Invariant: what is learned from a record is what a worker that
answers too would learn from it, but for how old the vectors of others are: a second."""
