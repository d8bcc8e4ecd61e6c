"""Memory: what sidestream knows and keeps. Nothing here imports an agent, a model or torch."""
