"""One module per family of features, each with its `FAMILY`; `models.domain.identity.roles` lists this package."""
