"""The generative model: a decoder over semantic IDs and words, its vocabulary, prompts, batches and beam search.

May import `store` and `trainer.content`. Invariant: training and serving build a prompt with the same function."""
