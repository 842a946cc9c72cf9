"""Where an order goes, whatever offers there are: the cheapest that fits, and every zone in which it may stand."""

from decimal import Decimal
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.domain.fleet.instances.state import OnUnavailable
from models.domain.fleet.placement.decision import Market, NamedModel, NamedProvider, Placement, Refusal, Wish, decide
from models.domain.fleet.placement.offers import ModelNeed, Offer
from models.domain.fleet.provider_kind import ProviderKind

HERE = ProviderKind(code="here", is_on_this_machine=True, is_free=True, needs_model_file=True)
CLOUD = ProviderKind(code="cloud")
BOUGHT = ProviderKind(code="bought", can_reinstall=True)
RENTED = ProviderKind(code="rented", can_restart_agent=True, machines="rented machines")
STAGE = ProviderKind(code="stage", own_models=frozenset({"a-play"}), machines="stages")
HERE_TOO = ProviderKind(code="too", is_free=True, can_reinstall=True, can_restart_agent=True)
ABLE = {
    CLOUD.code: {OnUnavailable.WAIT, OnUnavailable.TERMINATE},
    BOUGHT.code: set(OnUnavailable),  # an agent is started again by an install
    RENTED.code: set(OnUnavailable) - {OnUnavailable.REINSTALL},
}
NAMESPACE = UUID(int=7)
WAIT = OnUnavailable.WAIT

SMALL = ModelNeed("small", memory_gb=4, has_local_file=True)
LARGE = ModelNeed("large", memory_gb=64, has_local_file=False)
PLAY = ModelNeed("a-play", memory_gb=0, has_local_file=False, only_with=STAGE)


def offer(provider: ProviderKind, kind: str, zone: str, price: str | None, *, ram_gb: int = 16) -> Offer:
    return Offer(
        provider=provider,
        instance_type_code=kind,
        gpu_count=0,
        vram_per_gpu_gb=0,
        ram_gb=ram_gb,
        provider_id=uuid5(NAMESPACE, provider.code),
        zone_id=uuid5(NAMESPACE, f"{provider.code} {zone}"),
        zone_code=zone,
        region_id=uuid5(NAMESPACE, "region"),
        instance_type_id=uuid5(NAMESPACE, f"{provider.code} {kind}"),
        price_eur_per_hour=None if price is None else Decimal(price),
        billing_increment_s=1,
        billing_minimum_s=0,
    )


def decided(
    need: ModelNeed, *usable: Offer, wish: Wish | None = None, on_unavailable: OnUnavailable = WAIT
) -> Placement | Refusal:
    model = NamedModel(uuid5(NAMESPACE, need.model_id), need, is_active=True)
    market = Market(None, model, has_zone=True, usable=usable)
    return decide(wish or Wish(model_name=need.model_id), market, on_unavailable)


def code_of(decision: Placement | Refusal) -> str | None:
    return decision.code if isinstance(decision, Refusal) else None


def test_the_cheapest_that_fits_is_taken_and_may_stand_in_every_zone_of_its_type() -> None:
    dear, cheap = offer(CLOUD, "a", "z1", "2"), offer(CLOUD, "a", "z2", "1")
    other = offer(CLOUD, "b", "z1", "1.5")
    decision = decided(SMALL, dear, other, cheap)
    assert isinstance(decision, Placement)
    assert (decision.offer, decision.zones) == (cheap, [cheap, dear])


def test_a_zone_whose_type_is_too_small_there_is_none_to_try() -> None:
    """As a catalogue may say while it is brought up to date."""
    fits, does_not = offer(CLOUD, "a", "z1", "0.5"), offer(CLOUD, "a", "z2", "0", ram_gb=2)
    decision = decided(SMALL, does_not, fits)
    assert isinstance(decision, Placement)
    assert (decision.offer, decision.zones) == (fits, [fits])


def test_a_named_zone_is_the_only_one() -> None:
    named, other = offer(CLOUD, "a", "z1", "1"), offer(CLOUD, "a", "z2", "1")
    decision = decided(SMALL, named, other, wish=Wish(model_name="small", zone_code="z1"))
    assert isinstance(decision, Placement)
    assert decision.zones == [named]


def test_at_one_price_this_machine_comes_first_and_stays_where_it_is() -> None:
    here, there = offer(HERE, "a", "host-1", None), offer(HERE, "a", "host-2", None)
    decision = decided(SMALL, offer(CLOUD, "a", "z", "0"), here, there)
    assert isinstance(decision, Placement)
    assert (decision.offer, decision.zones) == (here, [here])


@pytest.mark.parametrize(
    ("need", "usable", "code", "says"),
    [
        (LARGE, [offer(CLOUD, "a", "z", "1")], "INCOMPATIBLE_MODEL_INSTANCE", "large needs 64 GB, a has 16 GB"),
        (LARGE, [offer(HERE, "a", "z", None, ram_gb=99)], "INCOMPATIBLE_MODEL_INSTANCE", "large has no model file"),
        (SMALL, [offer(STAGE, "a", "z", "1")], "INCOMPATIBLE_MODEL_INSTANCE", "stages serve only a-play"),
        (PLAY, [offer(CLOUD, "a", "z", "1")], "INCOMPATIBLE_MODEL_INSTANCE", "a-play exists only on stages"),
        (SMALL, [offer(CLOUD, "a", "z", None)], "UNPRICED_INSTANCE_TYPE", "no price"),
        (SMALL, [], "NO_FITTING_OFFER", "no active offer"),
    ],
)
def test_why_nothing_fits(need: ModelNeed, usable: list[Offer], code: str, says: str) -> None:
    decision = decided(need, *usable)
    assert isinstance(decision, Refusal)
    assert decision.code == code
    assert says in decision.message


@pytest.mark.parametrize("policy", OnUnavailable)
@pytest.mark.parametrize("provider", [CLOUD, BOUGHT, RENTED])
def test_who_cannot_do_what_is_wished_for_a_silent_instance_is_not_taken(
    provider: ProviderKind, policy: OnUnavailable
) -> None:
    """The cheaper one is, where it can; alone it is refused, and the refusal says what can be wished for."""
    cheap, dear = offer(provider, "a", "z", "1"), offer(HERE_TOO, "a", "z", "2")
    can = policy in ABLE[provider.code]
    decision = decided(SMALL, cheap, dear, on_unavailable=policy)
    assert isinstance(decision, Placement)
    assert decision.offer == (cheap if can else dear)
    alone = decided(SMALL, cheap, on_unavailable=policy)
    assert isinstance(alone, Placement) == can
    if isinstance(alone, Refusal):
        assert alone.code == "INVALID_PROVIDER"
        assert alone.message.endswith(", ".join(one for one in OnUnavailable if one in ABLE[provider.code]))


def test_what_is_too_small_anyway_is_refused_for_that() -> None:
    assert (
        code_of(decided(LARGE, offer(RENTED, "a", "z", "1"), on_unavailable=OnUnavailable.REINSTALL))
        == "INCOMPATIBLE_MODEL_INSTANCE"
    )


def test_what_is_named_and_not_there_is_refused_in_the_order_of_the_contract() -> None:
    inactive = NamedProvider(UUID(int=1), "away", is_orderable=False)
    wish = Wish(model_name="small", provider_code="away", zone_code="nowhere", instance_type_code="none")
    nothing = Market(inactive, None, has_zone=False)
    there = Market(None, None, has_zone=False)
    assert code_of(decide(Wish(provider_code="away"), nothing, WAIT)) == "MISSING_MODEL"
    assert code_of(decide(wish, nothing, WAIT)) == "INVALID_PROVIDER"
    assert code_of(decide(wish, there, WAIT)) == "INVALID_ZONE"
    assert code_of(decide(wish, Market(None, None, has_zone=True), WAIT)) == "INVALID_INSTANCE_TYPE"
    assert code_of(decide(Wish(model_name="small"), there, WAIT)) == "INVALID_MODEL"


OFFERS = st.builds(
    offer,
    st.sampled_from([HERE, CLOUD, STAGE]),
    st.sampled_from("ab"),
    st.sampled_from(["z1", "z2", "z3"]),
    st.none() | st.sampled_from(["0", "0.5", "1", "2"]),
    ram_gb=st.sampled_from([2, 16, 64]),
)


def fits(need: ModelNeed, one: Offer) -> bool:
    """As the contract says it."""
    is_at_home = one.provider.own_models == ({need.model_id} if need.only_with else set())
    has_file = need.has_local_file or not one.provider.needs_model_file
    has_price = one.price_eur_per_hour is not None or one.provider.is_free
    return is_at_home and has_file and has_price and one.memory_gb >= need.memory_gb


@given(st.sampled_from([SMALL, LARGE, PLAY]), st.lists(OFFERS, max_size=8))
def test_nothing_that_fits_is_cheaper_and_nothing_that_does_not_is_taken(need: ModelNeed, usable: list[Offer]) -> None:
    decision = decided(need, *usable)
    fitting = [one for one in usable if fits(need, one)]
    assert isinstance(decision, Placement) == bool(fitting)
    if isinstance(decision, Placement):
        assert decision.offer in fitting
        assert (decision.offer.price_eur_per_hour or 0) == min(one.price_eur_per_hour or 0 for one in fitting)
        assert decision.zones[0].price_eur_per_hour == decision.offer.price_eur_per_hour
        assert {zone.instance_type_id for zone in decision.zones} == {decision.offer.instance_type_id}
        assert all(zone in fitting for zone in decision.zones)
