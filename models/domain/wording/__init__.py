"""Found by listing: each module has the words of one family, as `FAMILY`."""
