"""Trees of many problems: the world that searchers see, its nodes, and what each is worth.

``world.py`` is the searchers' view, ``forest.py`` the work behind it (begin trees, ask for edges, value what comes
back), ``nodes.py`` the records of nodes and problems, ``table.py`` nodes by number with their keys and values. Nothing
here knows which algorithm asks, or how rows are put into batches.
"""
