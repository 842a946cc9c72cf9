"""The OpenAI-compatible API: a caller's request to the instance that takes it, metered (contract/fleet.md 6).

application   what answers under /v1, straight below the server: no framework between
exchange      one request: choose an instance, call it, pass the answer on, once more elsewhere if it failed in time
upstream      the connections to model servers
penalties     instances that could not be reached lately
ready_models  what GET /v1/models tells
answers       what is said to the caller: heads, refusals, how a broken stream ends
coded         answers in a content coding
caller        the other side: its body, its disconnect
metering      the record of a request, in the journal before anything is spent
recording     the journal into the database
detached      calls with an Idempotency-Key, which outlive their caller
routes        the same paths as routes of the app, for its document
"""
