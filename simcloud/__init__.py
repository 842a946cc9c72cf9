"""A simulated cloud: machines, volumes, prices, capacity, a billing meter, and faults on request.

A program of its own (`python -m simcloud`). It knows nothing of the product that rents from it: what it offers is its HTTP
API, described in `docs/simulated-cloud.md`.
"""
