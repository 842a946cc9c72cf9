"""Between a committed row and its owner: what the API and the workers both do, and neither does in a way of its own."""
