"""One module per family of features, each with its `FAMILY`; `workers.registry` finds them by listing this package."""
