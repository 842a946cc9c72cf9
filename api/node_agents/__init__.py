"""The node agents' side of the API: registration and heartbeats."""
