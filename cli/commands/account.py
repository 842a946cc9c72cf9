"""Who the API takes the caller for."""

from cli.command_group import CommandGroup
from cli.session import ApiUrl, AsJson, opened
from cli.text import shown


def whoami(*, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """Show the user, the organization and the role behind the key in use. The key itself is never shown."""
    with opened(as_json=as_json, api_url=api_url) as session:
        me = session.api.get("/auth/me")
        if as_json:
            session.screen.json(me)
            return
        name = " ".join(str(me[part]) for part in ("first_name", "last_name") if me.get(part))
        organization = f"{shown(me.get('current_organization_name'))} ({shown(me.get('current_organization_slug'))})"
        session.screen.record(
            [
                ("user", shown(me.get("email") or me.get("username"))),
                ("name", shown(name)),
                ("role", shown(me.get("role"))),
                ("organization", organization if me.get("current_organization_id") else shown(None)),
                ("role there", shown(me.get("current_organization_role"))),
                ("api", session.api.connection.url),
                ("key from", session.api.connection.key_source),
            ]
        )
        session.screen.next_commands("quarterdeck models", "quarterdeck instances")


COMMANDS = CommandGroup((whoami,), place=60)
