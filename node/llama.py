"""The model server's own process: llama.cpp behind its HTTP server, on loopback, for the agent alone.

It is a process of its own because loading a model holds the interpreter's lock (the agent would miss its heartbeats),
because a request in flight delays an orderly end by 30 s, and because what goes wrong in native code must not take the
agent along. One JSON line on standard input configures it; one JSON line on standard output says where it listens.
It ends with its parent: on Linux by a signal of the kernel, anywhere at the end of its standard input.
"""

import ctypes
import json
import os
import signal
import sys
from typing import Any

EMBEDDING_TOKENS = 512
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOG_ERRORS_ONLY = 1  # llama.cpp's level; from 2 on, its log quotes what it failed to parse


def main() -> None:
    config: dict[str, Any] = json.loads(sys.stdin.readline())
    _end_with(config["parent_pid"])
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # native code that prints must not disturb the answer
    server = _serve(config)
    json.dump({"url": server.listening_address}, answer)
    answer.write("\n")
    answer.flush()
    sys.stdin.read()
    os._exit(0)


def _end_with(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def _serve(config: dict[str, Any]) -> Any:
    os.environ["GGML_NO_BACKTRACE"] = "1"  # an abort would start a debugger first, for seconds
    import xllamacpp  # noqa: PLC0415 - slow to load, and only after the process is tied to its parent

    params = xllamacpp.CommonParams()
    params.model.path = config["model_file"]
    params.model_alias = {config["model_id"]}
    params.n_parallel = config["slots"]
    params.n_ctx = config["context_length"] * config["slots"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["api_key"]]
    # The agent lets in one request per slot; the rest are its look at /health.
    params.n_threads_http = config["slots"] + 4
    # The threads wait for one another at every step: two servers with a thread per core made 5 tokens/s each on two cores,
    # with half as many threads 30. And the rest of an installation may run on this machine.
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = max(1, (os.cpu_count() or 1) // 2)
        threads.poll = 0
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of prompts in memory
    if config["embeddings"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        # An input has to be one batch to be pooled right. 2048 tokens in one were seen to take 500 MB.
        params.n_batch = params.n_ubatch = min(params.n_ctx, EMBEDDING_TOKENS)
    params.ui = False
    params.verbosity = LOG_ERRORS_ONLY
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
