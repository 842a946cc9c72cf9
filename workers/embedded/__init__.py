"""`quarterdeck up`: PostgreSQL, Temporal, the simulated cloud, the API and the worker as supervised child processes."""
