"""`python -m cli` is the `quarterdeck` command."""

from cli.main import main

main()
