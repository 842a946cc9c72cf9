"""Which model runs on which machine, and which offer is taken when the caller names none (contract decision 12)."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

LOCAL = "local"
MOCK = "mock"
MOCK_MODEL = "mock-echo-model"
"""The only model a simulated machine serves (contract/fleet.md 2.9)."""


@dataclass(frozen=True)
class ModelNeed:
    model_id: str
    memory_gb: int
    has_local_file: bool


@dataclass(frozen=True)
class MachineType:
    """What kind of machine it is, wherever it may stand."""

    provider_code: str
    instance_type_code: str
    gpu_count: int
    vram_per_gpu_gb: int
    ram_gb: int

    @property
    def memory_gb(self) -> int:
        """Memory for a model: the GPUs' together, or RAM on a type without a GPU."""
        return self.gpu_count * self.vram_per_gpu_gb if self.gpu_count else self.ram_gb


@dataclass(frozen=True, kw_only=True)
class Offer(MachineType):
    """A type in a zone, with everything a decision needs."""

    provider_id: UUID
    zone_id: UUID
    zone_code: str
    region_id: UUID
    instance_type_id: UUID
    price_eur_per_hour: Decimal | None
    billing_increment_s: int
    billing_minimum_s: int


def misfit(model: ModelNeed, machine: MachineType) -> str | None:
    """Why the model cannot run on the machine, as a sentence for people, or None when it can. Equal memory is enough."""
    if machine.provider_code == MOCK and model.model_id != MOCK_MODEL:
        return f"simulated machines serve only {MOCK_MODEL}"
    if machine.provider_code != MOCK and model.model_id == MOCK_MODEL:
        return f"{MOCK_MODEL} exists only on simulated machines"
    if machine.provider_code == LOCAL and not model.has_local_file:
        return f"{model.model_id} has no model file on this host"
    if machine.memory_gb < model.memory_gb:
        return f"{model.model_id} needs {model.memory_gb} GB, {machine.instance_type_code} has {machine.memory_gb} GB"
    return None


def is_priced(offer: Offer) -> bool:
    """A type without a price cannot be deployed except on `local` (contract decision 11)."""
    return offer.price_eur_per_hour is not None or offer.provider_code == LOCAL


def cheapest_fitting(model: ModelNeed, offers: Iterable[Offer]) -> Offer | None:
    """The cheapest offer that fits; at the same price `local` first, then the smallest, then by code. None when none fits."""
    fitting = [offer for offer in offers if misfit(model, offer) is None and is_priced(offer)]
    return min(
        fitting,
        key=lambda offer: (
            offer.price_eur_per_hour or Decimal(0),
            offer.provider_code != LOCAL,
            offer.memory_gb,
            offer.provider_code,
            offer.instance_type_code,
            offer.zone_code,
        ),
        default=None,
    )
