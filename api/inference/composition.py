"""The inference path of this process, wired: a part that starts and stops with it, and the application that answers."""

from collections.abc import Callable

from api.inference.application import InferenceApplication
from api.inference.detached import DetachedCalls
from api.inference.edge import InferenceEdge
from api.inference.exchange import Exchanges
from api.inference.knowledge import Knowledge
from api.inference.metering import Meter
from api.inference.recording import Recorder
from api.inference.upstream import Limits, Upstream
from api.security.authenticator import Authenticator
from models.domain.keys import decode_installation_key
from models.repositories.database import Database
from models.repositories.database_clock import DatabaseClock
from models.repositories.inference.journal import Journal
from models.repositories.inference.results import AnswerSeal
from models.settings import Environment, Settings

JOURNAL_FOLDER = "journal"


class Inference:
    """An ASGI application; before `start` and after `close` every request is answered with 503."""

    def __init__(
        self,
        settings: Settings,
        installation_key: bytes,
        database: Database,
        listen_url: str,
        authenticator: Authenticator,
        *,
        clock: DatabaseClock,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._installation_key = installation_key
        self._database = database
        self._authenticator = authenticator
        self._clock = clock
        self._knowledge = Knowledge(listen_url, installation_key, settings.worker_stale_seconds)
        self._meter: Meter | None = None
        self.edge = InferenceEdge(hsts=settings.environment is Environment.PRODUCTION, is_stopping=is_stopping)

    @property
    def can_record(self) -> bool:
        """False while the disk refuses what has to be recorded before a request is served."""
        return self._meter is None or not self._meter.is_refused

    async def start(self) -> None:
        settings = self._settings
        limits = Limits(
            connect_s=settings.upstream_connect_timeout_s,
            answer_s=settings.upstream_timeout_s,
            stream_s=settings.upstream_stream_timeout_s,
            stream_idle_s=settings.upstream_stream_idle_timeout_s,
        )
        folder = settings.home / JOURNAL_FOLDER
        self._upstream = Upstream(limits)
        self._journal = Journal(folder)
        meter = self._meter = Meter(self._journal, self._clock)
        knowledge = self._knowledge
        exchanges = Exchanges(knowledge.routes, knowledge.outstanding, knowledge.penalties, self._upstream, meter)
        seal = AnswerSeal(self._installation_key, *_previous_keys(settings))
        self._detached = DetachedCalls(self._database, seal, exchanges)
        self._recorder = Recorder(self._database, folder, self._journal.folder, meter)
        await self._knowledge.start()
        await self._recorder.start()
        application = InferenceApplication(
            self._authenticator,
            self._knowledge,
            exchanges,
            self._detached,
            default_model=settings.inference_default_model,
            body_limit_bytes=settings.request_body_limit_bytes,
        )
        self.edge.answer = application.answer

    async def close(self) -> None:
        """The server has ended its connections by now; detached calls get the drain time, then records are settled."""
        if self.edge.answer is None:
            return
        self.edge.answer = None
        await self._detached.close()
        await self._upstream.close()
        self._journal.close(is_settled=await self._recorder.close())
        await self._knowledge.close()


def _previous_keys(settings: Settings) -> list[bytes]:
    previous = settings.installation_key_previous
    return [] if previous is None else [decode_installation_key(previous.get_secret_value())]
