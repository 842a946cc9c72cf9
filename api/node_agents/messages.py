"""From what an agent sent to what is stored: figures moved into their bounds, the address left out."""

import orjson

from api.schemas.fleet.node_agents import GpuReport, HeartbeatBody, RegisterBody, SystemReport
from models.domain.fleet.instances.heartbeats import (
    COLDEST_C,
    HOTTEST_C,
    GpuFigures,
    Heartbeat,
    SystemFigures,
    no_more_than,
    percent,
    plausible,
    whole_bytes,
    within,
)
from models.repositories.fleet.registrations import Announcement


def announcement_of(body: RegisterBody) -> Announcement:
    report = orjson.loads(body.metadata.as_json)
    version = report.get("agent_version")
    return Announcement(
        instance_id=body.instance_id,
        nonce=body.nonce,
        worker_id=body.worker_id,
        boot_id=body.boot_id,
        model_id=body.model_id,
        agent_version=version[:200] if isinstance(version, str) else None,
        report=report,
    )


def heartbeat_of(body: HeartbeatBody, token_hash: str) -> Heartbeat:
    return Heartbeat(
        instance_id=body.instance_id,
        token_hash=token_hash,
        status=body.status,
        phase=body.phase,
        boot_id=body.boot_id,
        worker_id=body.worker_id,
        model_id=body.model_id,
        queue_depth=body.queue_depth,
        slots_total=body.slots_total,
        slots_busy=body.slots_busy,
        gpu_utilization=percent(body.gpu_utilization),
        agent_version=body.agent_info.version if body.agent_info else None,
        system=_system(body.metadata.system),
        gpus=_gpus(body),
        report_json=body.metadata.as_json,
    )


def _system(report: SystemReport | None) -> SystemFigures | None:
    if report is None:
        return None
    return SystemFigures(
        cpu_usage_pct=percent(report.cpu_usage_pct),
        load1=plausible(report.load1),
        mem_used_bytes=whole_bytes(no_more_than(report.mem_used_bytes, report.mem_total_bytes)),
        mem_total_bytes=whole_bytes(report.mem_total_bytes),
        disk_used_bytes=whole_bytes(no_more_than(report.disk_used_bytes, report.disk_total_bytes)),
        disk_total_bytes=whole_bytes(report.disk_total_bytes),
        net_rx_bps=whole_bytes(report.net_rx_bps),
        net_tx_bps=whole_bytes(report.net_tx_bps),
    )


def _gpus(body: HeartbeatBody) -> tuple[GpuFigures, ...]:
    """One per GPU; an agent that does not list its GPUs may still tell their sum, which counts as GPU 0."""
    if body.metadata.gpus is not None:
        return tuple(_gpu(report) for report in body.metadata.gpus)
    if body.gpu_utilization is None and body.gpu_mem_used_mb is None:
        return ()
    return (GpuFigures(0, percent(body.gpu_utilization), plausible(body.gpu_mem_used_mb)),)


def _gpu(report: GpuReport) -> GpuFigures:
    return GpuFigures(
        gpu_index=report.index,
        gpu_utilization=percent(report.gpu_utilization),
        vram_used_mb=plausible(no_more_than(report.gpu_mem_used_mb, report.gpu_mem_total_mb)),
        vram_total_mb=plausible(report.gpu_mem_total_mb),
        temp_c=within(report.gpu_temp_c, COLDEST_C, HOTTEST_C),
        power_w=plausible(report.gpu_power_w),
        power_limit_w=plausible(report.gpu_power_limit_w),
    )
