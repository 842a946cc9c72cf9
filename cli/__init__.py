"""The `quarterdeck` command: an HTTP client of the API, and the door to the programs that run an installation."""
