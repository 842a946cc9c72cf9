"""One module per capability; `cli.main` registers their functions."""
