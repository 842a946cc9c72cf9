"""One module per capability; `cli.application` registers their functions."""
