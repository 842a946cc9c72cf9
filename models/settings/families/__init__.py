"""One module per family of features, each with its `FAMILY`; `models.settings` finds them by listing this package."""
