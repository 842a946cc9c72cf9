"""One module per capability, each with its `COMMANDS`; `cli.application` finds them by listing this package."""
