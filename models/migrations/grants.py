"""Every right that a database role has: what is not written here, `migrate` takes away (`granting.py`).

Tables are the second half of a wall whose first half are the policies: row-level security says which rows, these say what may be
done to them at all. A worker writes what its owners project and nothing of who may sign in; the API writes what it is asked for
and nothing of what owners alone know. Columns are named where a role changes some of them only.
"""

from collections.abc import Mapping
from enum import StrEnum

from models.settings.derived import DatabaseRole


class Privilege(StrEnum):
    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


Columns = tuple[str, ...] | None
ALL: Columns = None
"""Of the table, those of later migrations included."""

SELECT, INSERT, UPDATE, DELETE = Privilege
READ: Mapping[Privilege, Columns] = {SELECT: ALL}
APPEND: Mapping[Privilege, Columns] = {INSERT: ALL}

STREAMS: Mapping[Privilege, Columns] = {SELECT: ALL, INSERT: ALL, UPDATE: ("last_seq",)}
"""What `append_event` needs of its caller."""

TABLES: Mapping[DatabaseRole, Mapping[str, Mapping[Privilege, Columns]]] = {
    DatabaseRole.WORKER: {
        "action_logs": APPEND,
        "billing_segments": {SELECT: ALL, INSERT: ALL, UPDATE: ("closed_at", "close_reason")},
        "event_streams": STREAMS,
        "events": APPEND,
        "installation": READ,
        "instance_liveness": {
            SELECT: ALL,
            UPDATE: (
                "generation", "boot_id", "worker_status", "phase", "slots_busy", "queue_depth", "registered_at", "is_stale",
            ),
        },
        "instance_state_history": APPEND,
        "instance_types": READ,
        "instance_volumes": {
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: ("size_gb", "status", "deleted_at", "reconciled_at", "last_reconciliation"),
        },
        "instances": {
            SELECT: ALL,
            UPDATE: (
                "status", "version", "last_projection_id", "generation", "boot_count", "completed_steps",
                "waiting_on", "waiting_since", "waiting_until", "held_code", "held_since", "machine_spec", "create_attempted_at",
                "provider_instance_id", "endpoint_host", "endpoint_port", "boot_started_at", "ready_at", "failed_at",
                "terminated_at", "last_health_check", "deleted_by_provider", "deletion_reason", "error_code", "error_message",
                "heal_attempts",
            ),
        },
        "models": READ,
        "operations": {
            SELECT: ALL,
            UPDATE: (
                "status", "progress_percent", "waiting_on", "waiting_since", "waiting_until", "held_code", "held_since",
                "result", "error_code", "error_message", "started_at", "completed_at",
            ),
        },
        "worker_tokens": {SELECT: ALL, INSERT: ALL, UPDATE: ("bootstrap_expires_at", "revoked_at")},
    },
    DatabaseRole.API: {
        "action_logs": {SELECT: ALL, INSERT: ALL},
        "action_types": READ,
        "api_keys": {SELECT: ALL, INSERT: ALL, UPDATE: ("name", "revoked_at")},
        "billing_segments": READ,
        "event_streams": STREAMS,
        "events": {SELECT: ALL, INSERT: ALL},
        "idempotency_keys": {SELECT: ALL, INSERT: ALL, DELETE: ALL},
        "inference_requests": READ,
        "inference_results": {
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: (
                "request_hash", "claim", "lease_until", "instance_id", "status_code", "content_type", "body", "expires_at",
            ),
            DELETE: ALL,
        },
        "instance_liveness": {
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: (
                "generation", "boot_id", "worker_id", "worker_status", "phase", "worker_model_id", "queue_depth",
                "slots_total", "slots_busy", "gpu_utilization", "agent_version", "report", "registered_at",
                "last_heartbeat_at", "is_stale",
            ),
        },
        "instance_state_history": APPEND,
        "instance_type_zones": READ,
        "instance_types": READ,
        "instance_volumes": READ,
        "instances": {
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: (
                "status", "desired_status", "version", "waiting_on", "waiting_since", "held_code", "held_since", "terminated_at",
                "deletion_reason", "is_archived",
            ),
        },
        "memberships": READ,
        "models": READ,
        "operations": {
            SELECT: ALL,
            INSERT: ALL,
            UPDATE: (
                "status", "waiting_on", "waiting_since", "waiting_until", "held_code", "held_since", "cancel_requested_at",
                "completed_at",
            ),
        },
        "organizations": READ,
        "outbox": {SELECT: ("id", "created_at"), INSERT: ALL},  # what the database chose for a row is read back
        "providers": READ,
        "regions": READ,
        "users": READ,
        "worker_tokens": {
            SELECT: ALL,
            UPDATE: ("consumed_at", "nonce_hash", "token_hash", "token_prefix", "last_seen_at"),
        },
        "zones": READ,
    },
}  # fmt: skip

API, WORKER = frozenset({DatabaseRole.API}), frozenset({DatabaseRole.WORKER})
BOTH, NOBODY = API | WORKER, frozenset[DatabaseRole]()

FUNCTIONS: Mapping[str, frozenset[DatabaseRole]] = {
    # who is asking: in every policy
    "current_organization": BOTH,
    "current_principal_user": BOTH,
    # in the caller's name, and no further than its policies
    "append_event": BOTH,
    "segment_cost_eur": API,
    # across organizations, each for one purpose
    "alarm_outbox": WORKER,
    "change_password": API,
    "claim_outbox": WORKER,
    "count_stuck_messages": API,
    "ensure_personal_organization": API,
    "ensure_sample_partitions": WORKER,
    "find_sign_in": API,
    "hold_maker_of_key": API,
    "load_identities": API,
    "load_identities_of": API,
    "load_routes": API,
    "locate_worker_token": API,
    "mark_stale_instances": WORKER,
    "note_heartbeat_intake": API,
    "open_session": API,
    "postpone_outbox": WORKER,
    "purge_expired": WORKER,
    "purge_inference_results": API,
    "recent_sign_ins": API,
    "record_heartbeats": API,
    "record_inference": API,
    "revoke_session": API,
    "roll_up_samples": WORKER,
    "settle_outbox": BOTH,
    "touch_identities": API,
    "unfinished_instances": WORKER,
    # parts of others
    "common_scopes": NOBODY,
    "create_sample_partition": NOBODY,
    "drop_sample_partitions": NOBODY,
    "judge_heartbeats": NOBODY,
    "keys_beyond": NOBODY,
    "roll_up_gpu_samples": NOBODY,
    "roll_up_system_samples": NOBODY,
    "scopes_within": NOBODY,
    # of triggers
    "check_api_key": NOBODY,
    "check_session": NOBODY,
    "end_sessions_of_old_password": NOBODY,
    "end_what_a_member_holds": NOBODY,
    "narrow_descendants_of_key": NOBODY,
    "notify_identity": NOBODY,
    "notify_model": NOBODY,
    "notify_outbox": NOBODY,
    "notify_route": NOBODY,
}
"""Every function of ours, by name, and who may execute it. `PUBLIC` may execute none."""
