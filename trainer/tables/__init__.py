"""Tables: answers made before they are asked for, of requests that many people make alike.

A question is what such requests have in common (`questions`), a list its answer as of a moment (`lists`), demand how
often each was asked (`demand`), and the table (`table`) the lists at hand: the only door for whoever serves. Beside
these what is answered when the usual answer is late or fails (`fallback`), and what was answered to the same user a
moment ago (`kept`).

May import `store`, `trainer` (the modules at its root), `trainer.items` and `trainer.retrieval`. Invariant: what a list
says is what the recommender would have answered when it was made, and no list that has become untrue is handed out."""
