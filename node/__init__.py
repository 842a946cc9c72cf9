"""The node agent: the program that runs on a served machine.

It serves one model behind an OpenAI-compatible API, registers with the control plane and reports how it fares. It is a
program of its own: it imports nothing of the other packages, and they talk to it over HTTP and through files only.
"""

AGENT_VERSION = "0.1.0"
