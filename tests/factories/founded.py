"""A seeded database with one organization, as its founder sees it."""

import psycopg

from models.domain.identity.api_keys import new_api_key
from models.domain.identity.principal import Principal
from models.domain.identity.roles import Role
from models.repositories.database import Database
from models.repositories.fleet.seeding import Host, seed
from models.repositories.identity import founding
from tests.servers import TestDatabase


async def founded(database: TestDatabase) -> Principal:
    """Seed the database and found its organization, of which the principal is an owner."""
    owner = Database(database.owner, pool_size=1)
    async with owner.system() as session:
        await founding.ensure_installation(session)
        await seed(session, Host(zone="local", memory_gb=16))
        founder = founding.Founder("admin@example.test", "not a hash", new_api_key())
        await founding.found(session, founder, name="Test", slug="test")
    await owner.close()
    with psycopg.connect(database.admin) as connection:
        row = connection.execute(
            "SELECT m.user_id, m.organization_id FROM memberships m JOIN organizations o ON o.id = m.organization_id "
            "WHERE NOT o.is_personal"
        ).fetchone()
    assert row is not None
    return Principal(user_id=row[0], organization_id=row[1], role=Role.OWNER)
