"""Keys and values: who holds those of nodes and rows, and how rows attend to them."""
