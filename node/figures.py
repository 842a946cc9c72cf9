"""Real figures of this machine, as a heartbeat carries them (`metadata.system`)."""

import os
import shutil
import time
from pathlib import Path

import psutil


class SystemFigures:
    """Rates are taken between two calls of `sample`; the first one reports zero for them."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        psutil.cpu_percent(interval=None)  # the first call has nothing to compare with
        self._network = psutil.net_io_counters()
        self._taken_at = time.monotonic()

    def sample(self) -> dict[str, float]:
        """Bytes, percent of all cores, and bytes per second."""
        now, network = time.monotonic(), psutil.net_io_counters()
        elapsed_s = max(now - self._taken_at, 0.001)
        before, self._network, self._taken_at = self._network, network, now
        memory, disk = psutil.virtual_memory(), shutil.disk_usage(self._disk)
        return {
            "cpu_usage_pct": psutil.cpu_percent(interval=None),
            "load1": round(os.getloadavg()[0], 2),
            "mem_used_bytes": memory.total - memory.available,
            "mem_total_bytes": memory.total,
            "disk_used_bytes": disk.used,
            "disk_total_bytes": disk.total,
            "net_rx_bps": round(max(network.bytes_recv - before.bytes_recv, 0) / elapsed_s, 1),
            "net_tx_bps": round(max(network.bytes_sent - before.bytes_sent, 0) / elapsed_s, 1),
        }
