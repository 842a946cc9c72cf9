"""Toys on the command line."""

from cli.command_group import CommandGroup
from cli.screen import Column
from cli.session import ApiUrl, AsJson, opened


def toys(*, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """List the toys."""
    with opened(as_json=as_json, api_url=api_url) as session:
        rows = session.api.get_list("/toys")
        if as_json:
            session.screen.json(rows)
            return
        columns = [Column("NAME", lambda row: row["name"]), Column("STATUS", lambda row: row["status"], is_status=True)]
        session.screen.table(columns, rows, empty="No toys.")


COMMANDS = CommandGroup((toys,))
