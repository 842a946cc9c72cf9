"""Heartbeat figures: raw rows for an hour, then minute averages. Partitioned by time: ageing is a DROP TABLE."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index
from sqlmodel import Field, SQLModel

from models.tables.access import tenant_table


class _Figures(SQLModel):
    instance_id: UUID = Field(primary_key=True)
    organization_id: UUID
    queue_depth: float | None = None
    slots_busy: float | None = None
    cpu_usage_pct: float | None = None
    load1: float | None = None
    mem_used_bytes: int | None = Field(default=None, sa_type=BigInteger)
    mem_total_bytes: int | None = Field(default=None, sa_type=BigInteger)
    disk_used_bytes: int | None = Field(default=None, sa_type=BigInteger)
    disk_total_bytes: int | None = Field(default=None, sa_type=BigInteger)
    net_rx_bps: int | None = Field(default=None, sa_type=BigInteger)
    net_tx_bps: int | None = Field(default=None, sa_type=BigInteger)


class _GpuFigures(SQLModel):
    instance_id: UUID = Field(primary_key=True)
    gpu_index: int = Field(primary_key=True)
    organization_id: UUID
    gpu_utilization: float | None = None
    vram_used_mb: float | None = None
    vram_total_mb: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


class SystemSample(_Figures, table=True):
    __tablename__ = "system_samples"
    __table_args__ = tenant_table(is_searched=False, postgresql_partition_by="RANGE (time)")

    time: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))


class SystemSampleMinute(_Figures, table=True):
    __tablename__ = "system_samples_minute"
    __table_args__ = tenant_table(
        Index(
            "ix_system_samples_minute_time", "time", postgresql_using="brin", postgresql_with={"autosummarize": "on"}
        ),
        is_searched=False,
        postgresql_partition_by="RANGE (time)",
    )

    time: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))


class GpuSample(_GpuFigures, table=True):
    __tablename__ = "gpu_samples"
    __table_args__ = tenant_table(is_searched=False, postgresql_partition_by="RANGE (time)")

    time: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))


class GpuSampleMinute(_GpuFigures, table=True):
    __tablename__ = "gpu_samples_minute"
    __table_args__ = tenant_table(
        Index("ix_gpu_samples_minute_time", "time", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
        is_searched=False,
        postgresql_partition_by="RANGE (time)",
    )

    time: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))
