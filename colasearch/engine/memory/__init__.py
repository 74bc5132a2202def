"""Keys and values: who holds those of nodes and rows, and how rows attend to them.

``interfaces.py`` says what the search asks of either, ``choose.py`` which way is in use. By default nodes are tensors
of their own (``store.py``), rows stand in panels by length (``panels.py``), and prompts are encoded side by side
(``prompts.py``). With pages (``paged.py``) all three refer to one pool (``pages.py``), and rows attend over block
tables (``tables.py``), where a kernel does also prompts (``prefill.py``). ``products.py`` has attention by plain
products, in all the ways that layers score. ``whole.py`` serves architectures whose keys and values cannot be kept.
Nothing here knows tokens or texts.
"""
