"""Memory: what sidestream knows and keeps.

May import nothing of sidestream. Invariant: nothing here knows an agent, a model or torch."""
