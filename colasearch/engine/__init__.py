"""Running the model inside a search: keys and values, decoding, the world that searchers see."""
