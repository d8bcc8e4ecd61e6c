"""Learning: pure functions and models that turn remembered events into recommendations.

Packages, from the bottom up: `content` → `items` → `retrieval` → `ranking`; beside them `semantic_ids` and `model`,
upon `content`; above them the modules at this root; above those `tables`, `evaluation` and `gate`, then `runs`.

The modules at this root are one scorer's recommender: what serves, the rankings and answers made with it, exploration.
May import `store`, `trainer.content`, `trainer.items`, `trainer.retrieval`, `trainer.ranking`, `trainer.semantic_ids`
and `trainer.model`.

Invariant: nothing here knows Faust or HTTP; what is learned is a function of what is handed in."""
