"""What each provider is like, a module each, found by listing."""
