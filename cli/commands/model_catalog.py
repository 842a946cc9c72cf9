"""The models that can be deployed."""

from cli.command_group import CommandGroup
from cli.screen import Column
from cli.session import ApiUrl, AsJson, opened
from cli.text import shown


def models(*, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """List the models of the catalogue."""
    with opened(as_json=as_json, api_url=api_url) as session:
        rows = session.api.get_list("/models")
        if as_json:
            session.screen.json(rows)
            return
        session.screen.table(_COLUMNS, rows, empty="No models.")
        session.screen.next_commands("quarterdeck deploy MODEL --wait", "quarterdeck chat MODEL")


_COLUMNS = [
    Column("MODEL", lambda row: shown(row.get("code") or row.get("model_id"))),
    Column("HUGGING FACE ID", lambda row: shown(row.get("model_id"))),
    Column("NAME", lambda row: shown(row.get("name"))),
    Column("MEMORY GB", lambda row: shown(row.get("required_vram_gb")), right=True),
    Column("CONTEXT", lambda row: shown(row.get("context_length")), right=True),
    Column("ACTIVE", lambda row: shown(row.get("is_active"))),
]


COMMANDS = CommandGroup((models,), place=30)
