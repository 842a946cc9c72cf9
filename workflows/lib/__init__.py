"""What workflows of several kinds are built with."""
