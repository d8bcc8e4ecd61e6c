"""Motion: agents, scorer, publisher, broker, web and commands. Uses `store` and `trainer`."""
