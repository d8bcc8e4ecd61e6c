"""Learning: pure functions and models that turn remembered events into recommendations. Uses `store` only."""
