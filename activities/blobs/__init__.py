"""Blobs: bytes of organizations, in a folder or in S3, found by their hash."""
