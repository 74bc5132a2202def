"""Keys and values: who holds those of nodes and rows, and how rows attend to them.

``interfaces.py`` says what the search asks of either, ``choose.py`` which way is in use. Today nodes are tensors of
their own (``store.py``), rows stand in panels by length (``panels.py``), prompts are encoded side by side
(``prompts.py``), and ``whole.py`` serves architectures whose keys and values cannot be kept. Nothing here knows tokens
or texts.
"""
