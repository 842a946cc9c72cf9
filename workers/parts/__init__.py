"""One module per family of which `quarterdeck up` runs programs, each with its `FAMILY`; `workers.embedded` lists them.

They import nothing else of the family: `up` has to be light, and to start where a family cannot even be imported.
"""
