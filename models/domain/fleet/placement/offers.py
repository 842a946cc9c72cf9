"""Which model runs on which machine, and which offer is taken when the caller names none (contract decision 12)."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from models.domain.fleet.provider_kind import ProviderKind


@dataclass(frozen=True)
class ModelNeed:
    model_id: str
    memory_gb: int
    has_local_file: bool
    only_with: ProviderKind | None = None
    """The one provider that serves it; None: any on whose machines it fits."""


@dataclass(frozen=True)
class MachineType:
    """What kind of machine it is, wherever it may stand."""

    provider: ProviderKind
    instance_type_code: str
    gpu_count: int
    vram_per_gpu_gb: int
    ram_gb: int

    @property
    def provider_code(self) -> str:
        return self.provider.code

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
    provider = machine.provider
    if provider.own_models and model.model_id not in provider.own_models:
        return f"{provider.machines} serve only {', '.join(sorted(provider.own_models))}"
    if model.only_with is not None and model.only_with != provider:
        return f"{model.model_id} exists only on {model.only_with.machines}"
    if provider.needs_model_file and not model.has_local_file:
        return f"{model.model_id} has no model file on this host"
    if machine.memory_gb < model.memory_gb:
        return f"{model.model_id} needs {model.memory_gb} GB, {machine.instance_type_code} has {machine.memory_gb} GB"
    return None


def is_priced(offer: Offer) -> bool:
    """A type without a price cannot be deployed except where nothing has one (contract decision 11)."""
    return offer.price_eur_per_hour is not None or offer.provider.is_free


def in_every_zone(chosen: Offer, model: ModelNeed, offers: Iterable[Offer]) -> list[Offer]:
    """The chosen type at the same provider in each zone where it fits, the cheapest first, then by code.

    A provider on this machine has one place only: its zones are hosts of their own, and a model file is on one of them.
    """
    if chosen.provider.is_on_this_machine:
        return [chosen]
    same = [offer for offer in _fitting(model, offers) if offer.instance_type_id == chosen.instance_type_id]
    return sorted(same, key=lambda offer: (offer.price_eur_per_hour or Decimal(0), offer.zone_code))


def cheapest_fitting(model: ModelNeed, offers: Iterable[Offer]) -> Offer | None:
    """The cheapest offer that fits; at one price on this machine first, then the smallest, then by code. None when none fits."""
    return min(
        _fitting(model, offers),
        key=lambda offer: (
            offer.price_eur_per_hour or Decimal(0),
            not offer.provider.is_on_this_machine,
            offer.memory_gb,
            offer.provider_code,
            offer.instance_type_code,
            offer.zone_code,
        ),
        default=None,
    )


def _fitting(model: ModelNeed, offers: Iterable[Offer]) -> list[Offer]:
    return [offer for offer in offers if misfit(model, offer) is None and is_priced(offer)]
