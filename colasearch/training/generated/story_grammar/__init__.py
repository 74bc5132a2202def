"""Word problems put together from the parts of small stories."""
