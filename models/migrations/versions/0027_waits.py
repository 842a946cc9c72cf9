"""What rows wait for is a code and what its sentence names; sentences of before become the code where they are known."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

CODES = {
    "its owner to begin": "OWNER",
    "a person to decide": "DECISION",
    "the provider to create the machine": "MACHINE_CREATED",
    "the machine to run": "MACHINE_RUNS",
    "the node agent to register": "AGENT_REGISTERS",
    "the node agent to serve its model": "MODEL_SERVED",
    "the agent": "AGENT",
    "a heartbeat": "HEARTBEAT",
    "requests in flight": "REQUESTS_IN_FLIGHT",
    "the provider to restart the agent": "AGENT_RESTARTED",
    "the provider to reinstall the machine": "MACHINE_REINSTALLED",
    "the provider to delete the machine": "MACHINE_DELETED",
    "proof that nothing is left": "NOTHING_LEFT",
}


def upgrade() -> None:
    known = ", ".join(f"('{text}', '{code}')" for text, code in CODES.items())
    for table in ("instances", "operations"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN waiting_params jsonb")
        op.execute(
            f"UPDATE {table} SET waiting_on = known.code FROM (VALUES {known}) known (sentence, code) "
            "WHERE waiting_on = known.sentence"
        )
