"""Where an order goes, or why it goes nowhere (contract/fleet.md 2.9, decision 12): by what it names and what there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from models.domain.fleet.instances.state import OnUnavailable
from models.domain.fleet.placement.offers import ModelNeed, Offer, cheapest_fitting, in_every_zone, is_priced, misfit

REASONS_SHOWN = 3
"""Of why no offer fits: the first few tell what to change."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What an order names; None is left to us. `provider_id` wins over `provider_code`; a model is named by row id,
    catalogue code or Hugging Face id (contract decision 12).
    """

    model_name: str | None = None
    provider_id: UUID | None = None
    provider_code: str | None = None
    zone_code: str | None = None
    instance_type_code: str | None = None

    @property
    def names_provider(self) -> bool:
        return self.provider_id is not None or self.provider_code is not None


@dataclass(frozen=True)
class NamedProvider:
    """The provider that an order names, as the catalogue has it."""

    id: UUID
    code: str
    is_orderable: bool
    """It is active, and this program can reach it."""


@dataclass(frozen=True)
class NamedModel:
    """The model that an order names, as the catalogue has it."""

    id: UUID
    need: ModelNeed
    is_active: bool


@dataclass(frozen=True)
class Market:
    """What is there for a wish. Provider and model are those that it names, or None; `usable` are the offers within it whose
    provider, region, zone, type and availability are all active.
    """

    provider: NamedProvider | None
    model: NamedModel | None
    has_zone: bool
    usable: Sequence[Offer] = ()


@dataclass(frozen=True)
class Placement:
    """The offer that is taken, and the zones in which its type may stand, in the order in which they are tried."""

    model_id: UUID
    offer: Offer
    zones: Sequence[Offer]


@dataclass(frozen=True)
class Refusal:
    """Why an order cannot be placed."""

    code: str
    message: str


def decide(wish: Wish, market: Market, on_unavailable: OnUnavailable | None) -> Placement | Refusal:
    """The checks in the order of the contract: the first that fails names the refusal. `on_unavailable` is what the order
    wants done for a silent instance: a provider that cannot do it is not taken. None: whatever the provider can.
    """
    if (refusal := _misnamed(wish, market)) is not None:
        return refusal
    model = market.model
    if model is None or not model.is_active:
        return Refusal("INVALID_MODEL", f"there is no active model {wish.model_name}; GET /models lists them")
    offer = cheapest_fitting(
        model.need,
        [one for one in market.usable if on_unavailable is None or one.provider.can_heal_by(on_unavailable)],
    )
    if offer is None:
        unable = cheapest_fitting(model.need, market.usable)
        if unable is not None and on_unavailable is not None:
            return _unable(unable, on_unavailable)
        return _unfitting(model.need, market.usable, is_type_named=wish.instance_type_code is not None)
    zones = [offer] if wish.zone_code is not None else in_every_zone(offer, model.need, market.usable)
    return Placement(model.id, offer, zones)


def _misnamed(wish: Wish, market: Market) -> Refusal | None:
    """What the order names and nobody has, before its model is looked at."""
    if not wish.model_name:
        return Refusal("MISSING_MODEL", "name the model to serve in `model_id`; GET /models lists them")
    provider = market.provider
    if provider is not None and not provider.is_orderable:
        return Refusal(
            "INVALID_PROVIDER", f"provider {provider.code} is not active; GET /providers lists those that are"
        )
    if wish.zone_code is not None and not market.has_zone:
        return Refusal("INVALID_ZONE", f"there is no active zone {wish.zone_code}; GET /zones lists them")
    if wish.instance_type_code is not None and not market.usable:
        return Refusal(
            "INVALID_INSTANCE_TYPE",
            f"{wish.instance_type_code} cannot be ordered there; GET /instance_types lists types",
        )
    return None


def _unable(offer: Offer, policy: OnUnavailable) -> Refusal:
    """Nobody who could serve the model can do what is wished for a silent instance."""
    able = ", ".join(other.value for other in OnUnavailable if offer.provider.can_heal_by(other))
    return Refusal(
        "INVALID_PROVIDER",
        f"{offer.provider.machines} allow no {policy.value}; order with `on_unavailable` one of {able}",
    )


def _unfitting(need: ModelNeed, usable: Sequence[Offer], *, is_type_named: bool) -> Refusal:
    """Why not one of these fits."""
    reasons = [reason for offer in usable if (reason := misfit(need, offer))]
    if reasons and (is_type_named or len(reasons) == len(usable)):
        return Refusal("INCOMPATIBLE_MODEL_INSTANCE", "; ".join(list(dict.fromkeys(reasons))[:REASONS_SHOWN]))
    if any(not is_priced(offer) for offer in usable):
        return Refusal("UNPRICED_INSTANCE_TYPE", "the type has no price, and what has none cannot be billed")
    return Refusal("NO_FITTING_OFFER", "no active offer can serve this model; GET /instance_types lists what is there")
