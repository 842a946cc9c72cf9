"""How machines of the made-up cloud are reached."""
