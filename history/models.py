"""The tables of the log and of what people think of its answers.

Rows are written by `history.log`, `history.status`, `history.feedback` and the writer, and by nobody else.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Lookup, Q
from django.db.models.functions import Now

from history.events import Kind


class Utf8Json(json.JSONEncoder):
    """JSON with characters as themselves, so that text can be found by a search in the database."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False})


if TYPE_CHECKING:
    TextLookup = Lookup[str]
    IdsLookup = Lookup[Collection[uuid.UUID]]
else:
    TextLookup = IdsLookup = Lookup


class Conversation(models.Model):
    """The thread. `last_seq` is the number of its newest event; its row lock serialises everything that appends. An
    `ephemeral` one was made for a single request; it is purged after a while, unless somebody goes on with it. One that
    `is_titled` was named by its owner, or a model was asked to name it; `titling_since` is since when that goes on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=200, blank=True, default="")
    last_seq = models.BigIntegerField(default=0)
    ephemeral = models.BooleanField(db_default=False)
    archived = models.BooleanField(db_default=False)
    is_titled = models.BooleanField(db_default=False)
    titling_since = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (
            models.Index(fields=["owner", "-updated_at", "-id"], name="conversation_of_owner"),
            models.Index(fields=["-created_at", "-id"], name="conversation_newest"),
            models.Index(
                fields=["owner", "-updated_at", "-id"], condition=Q(ephemeral=False), name="conversation_of_owner_kept"
            ),
            models.Index(fields=["updated_at"], condition=Q(ephemeral=True), name="conversation_ephemeral"),
            models.Index(fields=["-created_at", "-id"], condition=Q(archived=True), name="conversation_archived"),
            models.Index(
                fields=["titling_since"], condition=Q(titling_since__isnull=False), name="conversation_being_titled"
            ),
        )

    def __str__(self) -> str:
        return self.title or str(self.id)


class Status(models.TextChoices):
    """Where a turn stands; ARCHITECTURE.md draws the edges."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


ACTIVE = (Status.QUEUED.value, Status.RUNNING.value, Status.STOPPING.value)


class Turn(models.Model):
    """From one user message to the end of the answer, with everything that another process needs to carry it on.

    `key_id` is the API key that asked, if one did; no foreign key, because keys come and go. `attempt` counts how often
    it was claimed, `losses` how often the process that had claimed it was lost; `engine` is whose it is."""

    class Origin(models.TextChoices):
        """How the turn came here."""

        LIVE = "live"
        IMPORTED = "imported"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="turns")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    parent = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    replaces = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.LIVE)
    key_id = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=128, null=True)  # noqa: DJ001 -- null is "no key", and unique
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    options = models.JSONField(default=dict, encoder=Utf8Json)
    profile = models.CharField(max_length=100, blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")

    status = models.CharField(max_length=9, choices=Status, default=Status.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    losses = models.PositiveSmallIntegerField(db_default=0)
    engine = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)

    error_code = models.CharField(max_length=50, blank=True, default="")
    finish_reason = models.CharField(max_length=50, blank=True, default="")
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True)

    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["conversation"], condition=Q(status__in=ACTIVE), name="one_active_turn_per_conversation"
            ),
            models.UniqueConstraint(fields=["request_id", "owner"], name="one_turn_per_owner_and_request_id"),
        )
        indexes = (
            models.Index(fields=["lease_expires_at"], condition=Q(status__in=ACTIVE), name="turn_active_by_lease"),
            models.Index(fields=["conversation", "-created_at"], name="turn_of_conversation"),
            models.Index(fields=["owner", "-created_at"], name="turn_of_owner"),
            models.Index(fields=["owner"], condition=Q(status__in=ACTIVE), name="turn_active_of_owner"),
            models.Index(fields=["-created_at", "-id"], name="turn_newest"),
            models.Index(fields=["status", "-created_at"], name="turn_by_status"),
            models.Index(fields=["model", "-created_at"], name="turn_by_model"),
        )

    def __str__(self) -> str:
        return str(self.id)


class OneOf(TextLookup):
    """Like `in`, with the values written out: SQLite uses a partial index only where it can read that the rows are in
    it, and of a parameter it reads nothing. For our own words, never for what somebody sends."""

    lookup_name = "one_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, params = self.process_lhs(compiler, connection)
        words = ", ".join(f"'{word}'" for word in self.rhs)
        return f"{left} IN ({words})", tuple(params)


class Among(IdsLookup):
    """Like `in`, with all values as one parameter: a statement with a place for each of a thousand ids takes as long to
    be put together and read as to be run, and SQLite takes only so many."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, params = self.process_lhs(compiler, connection)
        values = [self.lhs.output_field.get_db_prep_value(value, connection) for value in self.rhs]
        if connection.vendor == "postgresql":
            return f"{left} = ANY(%s)", (*params, values)
        return f"{left} IN (SELECT value FROM json_each(%s))", (*params, json.dumps(values))


Conversation._meta.get_field("id").register_lookup(Among)
Turn._meta.get_field("conversation").register_lookup(Among)
Turn._meta.get_field("status").register_lookup(OneOf)
IS_ACTIVE = Q(status__one_of=ACTIVE)
"""The turns that are not over, found by the indexes of those that are not."""


class Event(models.Model):
    """A durable, numbered entry of the log. `hop` and `index` repeat what `data` says, for the unique indexes."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    turn = models.ForeignKey(Turn, null=True, on_delete=models.CASCADE, related_name="events")
    hop = models.PositiveSmallIntegerField(null=True)
    index = models.PositiveSmallIntegerField(null=True)
    model = models.CharField(max_length=200, blank=True, default="")
    data = models.JSONField(encoder=Utf8Json)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["conversation", "seq"], name="one_event_per_seq"),
            models.UniqueConstraint(fields=["turn"], condition=Q(kind=Kind.TURN_ENDED.value), name="one_end_per_turn"),
            models.UniqueConstraint(
                fields=["turn", "hop"], condition=Q(kind=Kind.ASSISTANT_MESSAGE.value), name="one_message_per_hop"
            ),
            models.UniqueConstraint(
                fields=["turn", "hop", "index"], condition=Q(kind=Kind.TOOL_RESULT.value), name="one_result_per_call"
            ),
            models.UniqueConstraint(
                fields=["turn", "hop", "index"], condition=Q(kind=Kind.COMPLETION_LOG.value), name="one_log_per_call"
            ),
        )
        indexes = (
            models.Index(fields=["conversation", "kind", "seq"], name="event_of_kind"),
            models.Index(fields=["kind", "-id"], name="event_by_kind"),
            models.Index(fields=["model", "-id"], name="event_by_model"),
            models.Index(fields=["-at"], name="event_newest"),
            models.Index(fields=["at"], condition=Q(turn__isnull=True), name="event_of_no_turn"),
        )

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"


class CompletionContent(models.Model):
    """What a model was asked and has answered, compressed: of the call that event `seq` tells of.

    The database holds no key of the conversation: a process of the version before, which knows no contents, must be
    able to delete one. What it leaves behind, `manage.py purge_completion_logs` deletes."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, db_constraint=False, related_name="+")
    seq = models.BigIntegerField()
    data = models.BinaryField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "content of a completion log"
        verbose_name_plural = "contents of completion logs"
        constraints = (models.UniqueConstraint(fields=["conversation", "seq"], name="one_content_per_log"),)
        indexes = (models.Index(fields=["at"], name="content_oldest"),)

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.seq}"


class DeltaBatch(models.Model):
    """A persisted stretch of the draft, beginning `start` code points into hop `hop`; gives way to one event when the
    hop ends. No foreign key to the turn: one bad turn must not fail a tick's insert for all."""

    turn_id = models.UUIDField()
    attempt = models.PositiveSmallIntegerField()
    hop = models.PositiveSmallIntegerField()
    start = models.PositiveIntegerField()
    text = models.TextField()
    runs = models.JSONField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "delta batches"
        constraints = (
            models.UniqueConstraint(fields=["turn_id", "attempt", "hop", "start"], name="one_batch_per_start"),
        )

    def __str__(self) -> str:
        return f"{self.turn_id} {self.attempt}.{self.hop}.{self.start}"


class Sentiment(models.IntegerChoices):
    """What somebody thinks of an answer; clients send the numbers."""

    LIKE = 0
    NOT_LIKE = 1


class Feedback(models.Model):
    """What somebody thinks of a turn's answer, and why. `at` is when they last said so.

    `conversation` repeats what the turn says, so that a conversation's feedback is found by index. The database holds
    none of the three keys: a process of the version before, which knows no feedback, must be able to delete a turn."""

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, db_constraint=False, related_name="feedback"
    )
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, db_constraint=False, related_name="feedback")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+")
    sentiment = models.PositiveSmallIntegerField(choices=Sentiment)
    comment = models.TextField(blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "feedback"
        constraints = (models.UniqueConstraint(fields=["turn", "owner"], name="one_feedback_per_turn_and_owner"),)
        indexes = (
            models.Index(fields=["conversation", "owner", "-id"], name="feedback_of_conversation"),
            models.Index(fields=["-at", "-id"], name="feedback_newest"),
            models.Index(fields=["sentiment", "-at"], name="feedback_by_sentiment"),
        )

    def __str__(self) -> str:
        return self.get_sentiment_display()
