"""One module per family of features, each with its `FAMILY`; `api.registry` finds them by listing this package."""
