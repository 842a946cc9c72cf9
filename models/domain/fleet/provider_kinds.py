"""The providers that this program has adapters for, found by listing; of any other the defaults hold."""

from collections.abc import Iterable, Iterator
from typing import Final

from models.base.listing import exported
from models.domain.fleet import providers
from models.domain.fleet.provider_kind import ProviderKind


class ProviderKinds:
    """Kinds by code, in the order in which they are given. Raises ValueError where two have one code, or one model."""

    def __init__(self, kinds: Iterable[ProviderKind]) -> None:
        listed = tuple(kinds)
        self._by_code = {kind.code: kind for kind in listed}
        self._by_model = {model: kind for kind in listed for model in kind.own_models}
        if len(self._by_code) < len(listed) or len(self._by_model) < sum(len(kind.own_models) for kind in listed):
            raise ValueError("two providers have the same code or the same model of their own")

    def __iter__(self) -> Iterator[ProviderKind]:
        return iter(self._by_code.values())

    def of(self, code: str) -> ProviderKind:
        """The provider of this code. One without a module is a cloud of which only the catalogue knows."""
        return self._by_code.get(code) or ProviderKind(code=code)

    def only_with(self, model_id: str) -> ProviderKind | None:
        """The one provider whose machines serve the model, where it is one's own."""
        return self._by_model.get(model_id)

    def on_this_machine(self) -> list[ProviderKind]:
        return [kind for kind in self if kind.is_on_this_machine]


PROVIDER_KINDS: Final = ProviderKinds(exported(providers, "PROVIDER", ProviderKind))
