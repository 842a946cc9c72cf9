"""What every activity runs in: payload encryption, failure translation, request context, heartbeats, crash points."""
