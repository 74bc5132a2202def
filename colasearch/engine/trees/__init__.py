"""Trees of many problems: their nodes, and the world that searchers see."""
